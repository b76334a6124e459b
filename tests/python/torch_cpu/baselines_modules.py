"""The layers of seesaw.baselines as plain PyTorch modules: what a user would write, with the same
arguments and the same names in the state_dict. Differentiable, any device and dtype."""

import copy

import torch
from torch import nn


def visible_mask(mask, causal, tokens):
    """`mask` [.., N, N] of bool or numbers, 0 hides; joined with the causal one. None: no mask."""
    if mask is None and not causal:
        return None
    visible = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
    if causal:
        visible = visible.tril()
    return visible if mask is None else visible.to(mask.device) & (mask != 0)


def attention(q, k, v, scale, visible):
    """softmax(scale q k^T) v, scores and softmax in float32 or the dtype if that is wider."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) @ k.to(wide).transpose(-1, -2)) * scale
    if visible is None:
        return torch.softmax(scores, dim=-1).to(q.dtype) @ v
    visible = visible.to(scores.device)
    probabilities = torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1)
    # A row that sees nothing is NaN; here it attends to nothing.
    return torch.nan_to_num(probabilities).to(q.dtype) @ v


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, num_heads, head_dim=None, bias=True):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim or d_model // num_heads
        width = num_heads * self.head_dim
        self.q_proj = nn.Linear(d_model, width, bias)
        self.k_proj = nn.Linear(d_model, width, bias)
        self.v_proj = nn.Linear(d_model, width, bias)
        self.out_proj = nn.Linear(width, d_model, bias)

    def heads(self, x):
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def forward(self, x, mask=None, causal=False):
        q, k, v = (self.heads(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        o = attention(q, k, v, self.head_dim**-0.5, visible_mask(mask, causal, x.shape[1]))
        return self.out_proj(o.transpose(1, 2).flatten(2))


class TraditionalMLA(nn.Module):
    def __init__(self, d_model, num_heads, d_latent=None, head_dim=None, bias=True):
        super().__init__()
        head_dim = head_dim or d_model // num_heads
        self.d_latent = d_latent or head_dim
        width = num_heads * head_dim
        for name in "qkv":
            self.add_module(f"{name}_proj", nn.Linear(d_model, width, bias))
            self.add_module(f"{name}_latent_proj", nn.Linear(width, self.d_latent, bias))
        self.head_reconstruction = nn.Linear(self.d_latent, width, bias)
        self.out_proj = nn.Linear(width, d_model, bias)

    def forward(self, x, mask=None, causal=False):
        q = self.q_latent_proj(self.q_proj(x))
        k = self.k_latent_proj(self.k_proj(x))
        v = self.v_latent_proj(self.v_proj(x))
        visible = visible_mask(mask, causal, x.shape[1])
        visible = None if visible is None else visible[:, 0]
        o = attention(q, k, v, self.d_latent**-0.5, visible)
        return self.out_proj(self.head_reconstruction(o))


class MemoryEfficientMLA(nn.Module):
    def __init__(
        self, d_model, num_heads, d_latent=None, head_dim=None, chunk_size=1024, bias=True
    ):
        super().__init__()
        head_dim = head_dim or d_model // num_heads
        self.d_latent = d_latent or head_dim
        self.chunk_size = chunk_size
        self.width = num_heads * head_dim
        self.combined_proj = nn.Linear(d_model, self.width + 3 * self.d_latent, bias)
        self.head_reconstruction = nn.Linear(self.d_latent, self.width, bias)
        self.out_proj = nn.Linear(self.width, d_model, bias)

    def forward(self, x, mask=None, causal=False):
        sizes = [self.width] + 3 * [self.d_latent]
        _, q, k, v = self.combined_proj(x).split(sizes, dim=-1)
        visible = visible_mask(mask, causal, x.shape[1])
        chunks = []
        for begin in range(0, x.shape[1], self.chunk_size):
            rows = slice(begin, begin + self.chunk_size)
            seen = None if visible is None else visible[:, 0, rows]
            chunks.append(attention(q[:, rows], k, v, self.d_latent**-0.5, seen))
        return self.out_proj(self.head_reconstruction(torch.cat(chunks, dim=1)))


class RMSNorm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (wide * scale * self.weight.to(wide.dtype)).to(x.dtype)


class DeepSeekMLA(nn.Module):
    def __init__(
        self,
        d_model,
        num_heads,
        d_q_latent=None,
        d_latent=512,
        d_nope=128,
        d_rope=64,
        d_v=128,
        form="absorbed",
        rope_theta=10000.0,
        norm_epsilon=1e-6,
        bias=False,
    ):
        super().__init__()
        self.num_heads, self.form, self.rope_theta = num_heads, form, rope_theta
        self.d_latent, self.d_nope, self.d_rope, self.d_v = d_latent, d_nope, d_rope, d_v
        if d_q_latent is None:
            self.q_proj = nn.Linear(d_model, num_heads * (d_nope + d_rope), bias=False)
        else:
            self.q_a_proj = nn.Linear(d_model, d_q_latent, bias)
            self.q_a_layernorm = RMSNorm(d_q_latent, norm_epsilon)
            self.q_b_proj = nn.Linear(d_q_latent, num_heads * (d_nope + d_rope), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(d_model, d_latent + d_rope, bias)
        self.kv_a_layernorm = RMSNorm(d_latent, norm_epsilon)
        self.kv_b_proj = nn.Linear(d_latent, num_heads * (d_nope + d_v), bias=False)
        self.o_proj = nn.Linear(num_heads * d_v, d_model, bias)

    def rope(self, x, positions):
        """x [B, 1 or H, N, R], positions [B, N]; adjacent pairs."""
        exponents = torch.arange(0, self.d_rope, 2, dtype=torch.float64, device=x.device)
        angles = positions[:, None, :, None].double() * self.rope_theta ** (
            -exponents / self.d_rope
        )
        even, odd = x[..., ::2].double(), x[..., 1::2].double()
        cos, sin = angles.cos(), angles.sin()
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
        return turned.flatten(-2).to(x.dtype)

    def forward(self, x, mask=None, causal=False, positions=None):
        batch, tokens, _ = x.shape
        if positions is None:
            positions = torch.arange(tokens, device=x.device).expand(batch, tokens)
        if hasattr(self, "q_proj"):
            q = self.q_proj(x)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = q.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        q_nope, q_rope = q.split([self.d_nope, self.d_rope], dim=-1)
        q_rope = self.rope(q_rope, positions)
        c, r = self.kv_a_proj_with_mqa(x).split([self.d_latent, self.d_rope], dim=-1)
        c, r = self.kv_a_layernorm(c)[:, None], self.rope(r[:, None], positions)
        scale = (self.d_nope + self.d_rope) ** -0.5
        visible = visible_mask(mask, causal, tokens)
        up = self.kv_b_proj.weight.unflatten(0, (self.num_heads, self.d_nope + self.d_v))
        w_uk, w_uv = up.split([self.d_nope, self.d_v], dim=1)  # [H, ., L]
        if self.form == "expanded":
            k = torch.cat([c @ w_uk.transpose(1, 2), r.expand(-1, self.num_heads, -1, -1)], -1)
            v = c @ w_uv.transpose(1, 2)
            o = attention(torch.cat([q_nope, q_rope], -1), k, v, scale, visible)
        else:
            rows = torch.cat([c, r], dim=-1)
            q = torch.cat([q_nope @ w_uk, q_rope], dim=-1)
            o = attention(q, rows, c, scale, visible) @ w_uv.transpose(1, 2)
        return self.o_proj(o.transpose(1, 2).flatten(2))


MODULES = {
    module.__name__: module
    for module in (MultiHeadAttention, TraditionalMLA, MemoryEfficientMLA, DeepSeekMLA)
}


def make_module(model, dtype=torch.float32, device="cpu", **more):
    """The PyTorch module of a Model of baselines_reference.py, with random parameters."""
    torch.manual_seed(0)
    module = MODULES[model.layer](**{**model.arguments, **more})
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=1.0 if parameter.ndim == 1 else parameter.shape[1] ** -0.5)
    return module.to(device, dtype).eval()


def error_of(got, module, x, **arguments):
    """The largest error against the module in float64, relative to the largest value there."""
    with torch.no_grad():
        want = copy.deepcopy(module).double()(x.double(), **arguments)
    assert got.shape == want.shape and got.dtype == x.dtype and got.device == x.device
    assert torch.isfinite(got).all()
    return ((got.double() - want).abs().max() / want.abs().max()).item()
