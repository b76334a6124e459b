"""DeepSeek's MLA layer, from hidden states to hidden states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

import torch
from torch import nn

from seesaw.layers._attention import UpProjection, absorbed, absorbs, expanded, seen_by
from seesaw.layers._cache import LatentCache, Step
from seesaw.layers._config import MLASizes
from seesaw.layers._rotary import cos_sin_of, inverse_frequencies, magnitude, rotate

_FORMS = ("auto", "absorbed", "expanded")
_SCALES = "_scale_inv"
_BLOCK = 128
"""Rows and columns of a block of a published FP8 weight, which share a scale."""


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight, in float32, rounded to x's dtype before the weight,
    as the published code does."""

    def __init__(self, columns: int, epsilon: float, **at: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(columns, **at))
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * wide.to(x.dtype)


class DeepSeekMLA(nn.Module):
    """The MLA layer of DeepSeek-V2, V3 and R1, Kimi K2, GLM-4.7-Flash and their kin.

        c_q = norm(W_DQ x), q = W_UQ c_q; c = norm(W_DKV x), k_rope = rotary(W_KR x)
        out = W_O attention(q_nope, rotary(q_rope); c, k_rope)

    Parameters have the names of the published checkpoints (`q_a_proj.weight`, ...), so that a
    `state_dict` of one loads: `layer.load_state_dict(...)`, or `from_checkpoint`. (DeepSeek-V2,
    arXiv:2405.04434, section 2.1; rotary embedding with YaRN, arXiv:2309.00071.)

    Args:
        sizes: `MLASizes`, or a model's configuration that they are read from.
        dtype: Of the parameters and of hidden states. device: Of both.

    Raises:
        ValueError, TypeError: The configuration is not of a model with MLA.
    """

    frequencies: torch.Tensor

    def __init__(
        self, sizes: Any, *, dtype: Optional[torch.dtype] = None, device: Any = None
    ) -> None:
        super().__init__()
        sizes = sizes if isinstance(sizes, MLASizes) else MLASizes.of(sizes)
        self.sizes = sizes
        at: Dict[str, Any] = {"dtype": dtype, "device": device}
        heads = sizes.num_heads * (sizes.d_nope + sizes.d_rope)
        if sizes.d_q_latent is None:
            self.q_proj = nn.Linear(sizes.d_model, heads, bias=False, **at)
        else:
            self.q_a_proj = nn.Linear(sizes.d_model, sizes.d_q_latent, bias=sizes.bias, **at)
            self.q_a_layernorm = RMSNorm(sizes.d_q_latent, sizes.norm_epsilon, **at)
            self.q_b_proj = nn.Linear(sizes.d_q_latent, heads, bias=False, **at)
        self.kv_a_proj_with_mqa = nn.Linear(sizes.d_model, sizes.d_qk, bias=sizes.bias, **at)
        self.kv_a_layernorm = RMSNorm(sizes.d_latent, sizes.norm_epsilon, **at)
        expanded_columns = sizes.num_heads * (sizes.d_nope + sizes.d_v)
        self.kv_b_proj = nn.Linear(sizes.d_latent, expanded_columns, bias=False, **at)
        self.o_proj = nn.Linear(sizes.num_heads * sizes.d_v, sizes.d_model, bias=sizes.bias, **at)
        frequencies = inverse_frequencies(sizes.d_rope, sizes.rope_theta, sizes.rope_scaling)
        self.register_buffer("frequencies", frequencies.to(device), persistent=False)

    @classmethod
    def from_checkpoint(
        cls,
        folder: Union[str, Path],
        layer: int,
        *,
        dtype: torch.dtype = torch.bfloat16,
        device: Any = None,
    ) -> DeepSeekMLA:
        """Layer number `layer` of a published checkpoint: config.json and safetensors files, with
        an index or alone. Weights in FP8 with a scale for blocks of 128 x 128 (`weight_scale_inv`)
        become `dtype`. Needs the package safetensors.

        Raises:
            ValueError: A tensor is missing or has another shape.
        """
        folder = Path(folder)
        config = json.loads((folder / "config.json").read_text())
        prefix = f"model.layers.{layer}.self_attn."
        tensors = read_tensors(folder, prefix)
        made = cls(config, dtype=dtype, device=device)
        made.load_published(tensors)
        return made

    def load_published(self, tensors: Dict[str, torch.Tensor], prefix: str = "") -> DeepSeekMLA:
        """Loads tensors by name, those of other modules left alone; FP8 blocks become the layer's
        dtype. Returns itself.

        Raises:
            ValueError: A tensor is missing or has another shape.
        """
        mine = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
        found = {}
        for name, parameter in self.state_dict().items():
            if name not in mine:
                raise ValueError(
                    f"DeepSeekMLA: the checkpoint has no {prefix}{name}, allowed: all of "
                    f"{', '.join(self.state_dict())}. Set the prefix of a layer with MLA, and its "
                    "own configuration."
                )
            tensor = mine[name]
            if tensor.shape != parameter.shape:
                raise ValueError(
                    f"DeepSeekMLA: {prefix}{name} has shape {list(tensor.shape)}, allowed: "
                    f"{list(parameter.shape)}. Load it with its own configuration."
                )
            scales = mine.get(name + _SCALES)
            found[name] = tensor if scales is None else _scaled(tensor, scales)
        self.load_state_dict(found)
        return self

    def new_cache(
        self,
        batch: int,
        capacity: int,
        *,
        kv_format: Optional[str] = None,
        page_size: int = 64,
        grows: bool = True,
    ) -> LatentCache:
        """An empty cache for `batch` sequences of up to `capacity` tokens, on the layer's device.

        kv_format: Of `seesaw.formats()`, or a dtype's name; None: the layer's dtype.
        """
        weight = self.o_proj.weight
        return LatentCache(
            batch,
            capacity,
            self.sizes.d_latent,
            self.sizes.d_rope,
            dtype=weight.dtype,
            device=weight.device,
            kv_format=kv_format,
            page_size=page_size,
            grows=grows,
        )

    def forward(
        self,
        hidden_states: torch.Tensor,
        *,
        cache: Optional[LatentCache] = None,
        past_tokens: int = 0,
        form: str = "auto",
        step: Optional[Step] = None,
    ) -> torch.Tensor:
        """Causal attention of new tokens over themselves and the cached ones, on a GPU on PyTorch's
        current stream. Gradients flow through the expanded form alone.

        Args:
            hidden_states: [b, s, d_model] of the layer's dtype, after the model's input norm.
            cache: Gets the new tokens' latents. None: nothing is kept, and nothing came before.
            past_tokens: Tokens in the cache before the call.
            form: "absorbed" attends the cache as it is, by `seesaw.dense_decode`; "expanded" first
                multiplies its latents by kv_b_proj; "auto" takes the faster one: expanded for
                prompts, for 256 tokens and more at once, and where a gradient is wanted.
            step: Of `new_step`, so that the layers of a step share its schedule, positions,
                rotations and slots. None: one is made.

        Returns:
            [b, s, d_model], as hidden_states.

        Raises:
            ValueError, TypeError: An argument is malformed.
            NotImplementedError: No kernel of this build decodes such a layer here.
        """
        self._check(hidden_states, cache, past_tokens, form)
        _check_step(step, hidden_states, past_tokens)
        b, s, _ = hidden_states.shape
        sizes = self.sizes
        if sizes.d_q_latent is None:
            q = self.q_proj(hidden_states)
        else:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden_states)))
        q_nope, q_rope = q.view(b, s, sizes.num_heads, -1).split([sizes.d_nope, sizes.d_rope], -1)
        latent, rope = self.kv_a_proj_with_mqa(hidden_states).split(
            [sizes.d_latent, sizes.d_rope], -1
        )
        latent = self.kv_a_layernorm(latent)
        step = self.new_step(b, past_tokens + s, s) if step is None else step
        rotary = (sizes.d_rope, sizes.rope_theta, sizes.rope_scaling)
        cos, sin = step.rotation(rotary, self._cos_sin)
        rope = rotate(rope, cos, sin, sizes.interleaved)
        q_rope = rotate(q_rope, cos[:, :, None], sin[:, :, None], sizes.interleaved)
        up = UpProjection.of(self.kv_b_proj.weight, sizes.d_nope, sizes.d_v)
        if cache is not None:
            cache.reserve(past_tokens + s)
            cache.append_to(latent, rope, step.slots(cache))
        if form == "auto" and cache is not None and absorbs(s, past_tokens, q.requires_grad):
            form = "absorbed"
        if form == "absorbed" and cache is not None:
            heads = absorbed(q_nope, q_rope, up, cache, step, sizes.scale)
        elif cache is None or past_tokens == 0:
            heads = expanded(q_nope, q_rope, up, latent, rope, sizes.scale)
        else:
            latent, rope = cache.rows(past_tokens + s)
            seen = seen_by(step.positions, past_tokens + s)
            heads = expanded(q_nope, q_rope, up, latent, rope, sizes.scale, seen)
        return self.o_proj(heads.reshape(b, s, -1))

    def new_step(self, batch: int, tokens: int, new_tokens: int = 1) -> Step:
        """For a call by which `batch` sequences have `tokens` tokens each, `new_tokens` of them
        new; for all layers of a model."""
        device = self.o_proj.weight.device
        lengths = torch.full((batch,), tokens, dtype=torch.int32, device=device)
        positions = torch.arange(tokens - new_tokens, tokens, device=device)[None]
        return Step(lengths, tokens, positions)

    def _cos_sin(self, positions: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        return cos_sin_of(positions, self.frequencies, magnitude(self.sizes.rope_scaling))

    def _check(
        self, x: torch.Tensor, cache: Optional[LatentCache], past_tokens: int, form: str
    ) -> None:
        sizes, weight = self.sizes, self.o_proj.weight
        if x.ndim != 3 or x.shape[-1] != sizes.d_model:
            raise ValueError(
                f"DeepSeekMLA: hidden_states has shape {list(x.shape)}, allowed: "
                f"[b, s, {sizes.d_model}]. Reshape it."
            )
        if x.dtype != weight.dtype:
            raise TypeError(
                f"DeepSeekMLA: hidden_states has dtype {x.dtype}, allowed: {weight.dtype}, as the "
                "parameters. Convert one of them."
            )
        if form not in _FORMS:
            raise ValueError(
                f"DeepSeekMLA: form = {form!r}, allowed: {', '.join(_FORMS)}. Choose one of them."
            )
        if cache is None:
            if past_tokens or form == "absorbed":
                what = f"past_tokens = {past_tokens}" if past_tokens else 'form = "absorbed"'
                raise ValueError(
                    f"DeepSeekMLA: {what} without a cache, allowed: with one. Make a new_cache."
                )
        elif cache.batch != x.shape[0] or past_tokens < 0:
            raise ValueError(
                f"DeepSeekMLA: past_tokens = {past_tokens} and a cache of {cache.batch} sequences "
                f"for hidden_states of {x.shape[0]}, allowed: 0 or more, as many. Pass the cache "
                "of these sequences."
            )
        elif form == "absorbed" and torch.is_grad_enabled() and weight.requires_grad:
            raise ValueError(
                'DeepSeekMLA: form = "absorbed" where gradients are wanted, allowed: "expanded", '
                "as dense_decode has no backward pass. Call under torch.no_grad()."
            )


def _check_step(step: Optional[Step], x: torch.Tensor, past_tokens: int) -> None:
    b, s, _ = x.shape
    if step is None:
        return
    given = (step.lengths.shape[0], step.longest, step.positions.shape[-1])
    wanted = (b, past_tokens + s, s)
    if given != wanted:
        raise ValueError(
            f"DeepSeekMLA: a step of {given} sequences, tokens and new tokens, allowed: {wanted}. "
            f"Make it by new_step{wanted}."
        )


def read_tensors(folder: Path, prefix: str) -> Dict[str, torch.Tensor]:
    """A checkpoint's tensors whose names begin with prefix, by the rest of their names."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = json.loads(index.read_text())["weight_map"]
        files = sorted({file for name, file in names.items() if name.startswith(prefix)})
    else:
        files = sorted(path.name for path in folder.glob("*.safetensors"))
    found = {}
    for file in files:
        with safe_open(folder / file, "pt") as tensors:
            names_here = [name for name in tensors.keys() if name.startswith(prefix)]
            found.update({name[len(prefix) :]: tensors.get_tensor(name) for name in names_here})
    return found


def _scaled(weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """weight [n, m] of FP8 times scales [ceil(n / 128), ceil(m / 128)], float32."""
    rows, columns = weight.shape
    wide = scales.to(torch.float32).repeat_interleave(_BLOCK, 0).repeat_interleave(_BLOCK, 1)
    return weight.to(torch.float32) * wide[:rows, :columns]
