"""MLA's attention in its two forms: absorbed over the cache, expanded over rows of latents.

Both give sum(softmax(scale (q_nope K^T + q_rope k_rope^T)) V) of every head, with K = W_UK c and
V = W_UV c of a latent c. The absorbed form multiplies the query by W_UK and the result by W_UV
instead of every cached token (DeepSeek-V2, arXiv:2405.04434, section 2.1.2).
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch

import seesaw
from seesaw.layers._cache import LatentCache, Step

EXPAND_FROM = 256
"""New tokens of a sequence, behind others in the cache, from which on expanding is chosen; a prompt
with nothing before it is always expanded, as absorbing its queries costs what expanding its keys
does. A pair of a query and a key costs 1,088 products absorbed, and 320 expanded, which costs
131,072 a key and head first. Measured with 16 heads behind 2,048 tokens, float32, on two cores of
a CPU: 0.06 s against 0.39 for one token, 0.40 against 0.81 for 64, 0.97 against 1.17 for 256."""


class UpProjection(NamedTuple):
    """kv_b_proj by heads: keys [h, d_nope, d_latent] and values [h, d_v, d_latent], views."""

    keys: torch.Tensor
    values: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor, d_nope: int, d_v: int) -> UpProjection:
        """Of kv_b_proj.weight [h * (d_nope + d_v), d_latent]."""
        by_head = weight.view(-1, d_nope + d_v, weight.shape[-1])
        return cls(by_head[:, :d_nope], by_head[:, d_nope:])


def absorbed(
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    up: UpProjection,
    cache: LatentCache,
    step: Step,
    scale: float,
) -> torch.Tensor:
    """Of the last s tokens of every sequence, by `seesaw.dense_decode`, without a backward pass.

    Args:
        q_nope: [b, s, h, d_nope]. q_rope: [b, s, h, d_rope], rotated.
        cache: Of b sequences, the s tokens appended.

    Returns:
        [b, s, h, d_v].
    """
    b, s, h, d_nope = q_nope.shape
    by_head = q_nope.permute(2, 0, 1, 3).reshape(h, b * s, d_nope)
    # The product has heads outside: the kernel reads it as it lies, beside the rotary part.
    q_latent = torch.bmm(by_head, up.keys).view(h, b, s, -1).permute(1, 2, 0, 3)
    out, _ = seesaw.dense_decode(
        q_latent,
        cache.pages,
        cache.block_table,
        step.lengths,
        scale=scale,
        q_rotary=q_rope if cache.d_rope else None,
        schedule=step.schedule(q_latent, cache),
    )
    heads = out.permute(2, 0, 1, 3).reshape(h, b * s, cache.d_latent)
    values = torch.bmm(heads, up.values.transpose(1, 2))
    return values.view(h, b, s, -1).permute(1, 2, 0, 3)


def expanded(
    q_nope: torch.Tensor,
    q_rope: torch.Tensor,
    up: UpProjection,
    latent: torch.Tensor,
    rope: torch.Tensor,
    scale: float,
    seen: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Over rows of latents, by PyTorch's own attention: for prompts and for gradients.

    Args:
        q_nope, q_rope: As of `absorbed`.
        latent: [b, n, d_latent]. rope: [b, n, d_rope].
        seen: Broadcast to [b, 1, s, n] bool: what each query token sees, or numbers to be added to
            the scores. None: causal, and n = s.

    Returns:
        [b, s, h, d_v].
    """
    b, n, d_latent = latent.shape
    h, d_v = up.values.shape[:2]
    weight = torch.cat((up.keys, up.values), 1).reshape(-1, d_latent)
    both = torch.nn.functional.linear(latent, weight).view(b, n, h, -1)
    keys, values = both[..., :-d_v], both[..., -d_v:]
    keys = torch.cat((keys, rope[:, :, None].expand(-1, -1, h, -1)), -1)
    out = torch.nn.functional.scaled_dot_product_attention(
        torch.cat((q_nope, q_rope), -1).transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        attn_mask=seen,
        is_causal=seen is None,
        scale=scale,
    )
    return out.transpose(1, 2)


def absorbs(new_tokens: int, past_tokens: int, wants_gradient: bool) -> bool:
    """Whether the absorbed form is chosen for new tokens behind those that the cache has."""
    return 0 < past_tokens and new_tokens < EXPAND_FROM and not wants_gradient


def seen_by(positions: torch.Tensor, n: int) -> torch.Tensor:
    """[b, 1, s, n] bool: keys up to each query token's own place, positions [b, s]. A token without
    a place (negative) sees the first key, so that its row is finite."""
    keys = torch.arange(n, device=positions.device)
    return (keys <= positions.clamp(min=0)[..., None])[:, None]
