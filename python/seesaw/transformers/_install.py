"""The two hooks: `expand_kv` of the model's attention modules, and an attention function."""

from __future__ import annotations

from types import MethodType
from typing import Any, Dict, List, Optional, Tuple

import torch
from transformers import AttentionInterface
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    causal_mask_function,
    sdpa_mask,
)

from seesaw._formats import format_of
from seesaw.layers._attention import UpProjection, absorbed, absorbs, expanded, seen_by
from seesaw.transformers._cache import PagedLatentLayer, become_paged

NAME = "seesaw_mla"
SUPPORTED = ("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "kimi_linear")
"""Values of a configuration's model_type that `install` takes, each tested against the original."""
_PARTS = ("expand_kv", "kv_b_proj", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim")


def install(
    model: Any, *, kv_format: Optional[str] = None, capacity: int = 0, page_size: int = 64
) -> Any:
    """Lets a model's MLA layers decode by `seesaw.dense_decode`. Returns the model.

    `generate` and `forward` are called as before. An empty DynamicCache, the default, gets pages of
    latents as its layers; new tokens behind cached ones attend them absorbed, without expanding the
    cache. Prompts, 256 tokens and more at once, and calls that record gradients are expanded, by
    PyTorch's own attention. Padded batches are not slower: padding is not stored. Beam search,
    assisted decoding (`crop`) and custom 4D masks without padding work.

    Args:
        model: Of Transformers, its model_type in `SUPPORTED`; on a CPU or a GPU.
        kv_format: Of `seesaw.formats()`, as "fp8_656": the caches are kept in it. None: in the
            model's dtype.
        capacity: Tokens that caches have room for from the start. page_size: Tokens of a page.

    Raises:
        ValueError: The model is of another type, or a Transformers that keeps no latents.
    """
    config = model.config.get_text_config(decoder=True)
    format_of("seesaw.transformers.install", kv_format)
    if config.model_type not in SUPPORTED:
        raise ValueError(
            f"seesaw.transformers.install: a model of type {config.model_type!r}, allowed: "
            f"{', '.join(SUPPORTED)}. Run it without Seesaw, or build its layers of seesaw.layers."
        )
    modules = [module for module in model.modules() if hasattr(module, "kv_b_proj")]
    for module in modules:
        missing = [name for name in _PARTS if not hasattr(module, name)]
        if missing:
            raise ValueError(
                f"seesaw.transformers.install: {type(module).__name__} without "
                f"{', '.join(missing)}, allowed: a version of Transformers that keeps latents in "
                "its cache. Install transformers 5.17 or later."
            )
    AttentionInterface.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, mask_of)
    if not hasattr(model, "_seesaw_settings"):
        model._seesaw_before = model.config._attn_implementation
        decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
        layers = sorted({module.layer_idx for module in modules})
        hook = _Pages(model, layers)
        model._seesaw_hook = decoder.register_forward_pre_hook(hook, with_kwargs=True)
    model._seesaw_settings = {
        "kv_format": kv_format,
        "capacity": capacity,
        "page_size": page_size,
    }
    for module in modules:
        module.expand_kv = MethodType(_hand_through, module)
    model.set_attn_implementation(NAME)
    return model


def uninstall(model: Any) -> Any:
    """Makes a model what it was before `install`. Returns it."""
    if hasattr(model, "_seesaw_settings"):
        model._seesaw_hook.remove()
        model.set_attn_implementation(model._seesaw_before)
        for module in model.modules():
            module.__dict__.pop("expand_kv", None)
        del model._seesaw_settings, model._seesaw_hook, model._seesaw_before
    return model


class _Pages:
    """Gives the cache of a call its pages."""

    def __init__(self, model: Any, layers: List[int]) -> None:
        self.model, self.layers = model, layers

    def __call__(
        self, module: Any, args: Tuple[Any, ...], kwargs: Dict[str, Any]
    ) -> Optional[Tuple[Tuple[Any, ...], Dict[str, Any]]]:
        name = next((n for n in ("cache", "past_key_values") if kwargs.get(n) is not None), None)
        if name is not None:
            become_paged(kwargs[name], self.layers, self.model._seesaw_settings)
            return None
        wanted = kwargs.get("use_cache")
        if wanted is None:
            wanted = self.model.config.get_text_config(decoder=True).use_cache
        if not wanted or (module.training and torch.is_grad_enabled()):
            return None
        from transformers.cache_utils import DynamicCache

        made = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        become_paged(made, self.layers, self.model._seesaw_settings)
        return args, {**kwargs, _cache_name(module): made}


def _cache_name(module: Any) -> str:
    """What this version of Transformers calls a model's cache."""
    from inspect import signature, unwrap

    return "cache" if "cache" in signature(unwrap(module.forward)).parameters else "past_key_values"


def mask_of(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: Any = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: Optional[torch.Tensor] = None,
    **rest: Any,
) -> Optional[torch.Tensor]:
    """The mask that the attention function gets: None if it is causal alone, [b, kv_length] bool if
    there is padding, [b, 1, q_length, kv_length] if it is anything else."""
    if mask_function is not causal_mask_function:
        rest["allow_is_causal_skip"] = False
        return sdpa_mask(
            batch_size=batch_size,
            q_length=q_length,
            kv_length=kv_length,
            q_offset=q_offset,
            kv_offset=kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            **rest,
        )
    if attention_mask is None:
        return None
    attention_mask = attention_mask[:, -kv_length:].to(torch.bool)
    return None if bool(attention_mask.all()) else attention_mask


def _hand_through(
    self: Any, kv_nope: torch.Tensor, k_rot: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """In place of `expand_kv`: the attention function gets the latents as they are."""
    return kv_nope, k_rot


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Optional[torch.Tensor],
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> Tuple[torch.Tensor, None]:
    """The attention function of an installed model.

    Args:
        query: [b, h, s, d_nope + d_rope]. key: latents [b, 1, s, d_latent] of the new tokens;
            value: their rotary keys [b, 1, s, d_rope], rotated.
        attention_mask: Of `mask_of`, or the caller's own [b, 1, s, n].
        dropout: Not taken, as while training a model with attention_dropout.

    Returns:
        ([b, s, h, d_v], None)
    """
    if dropout:
        raise NotImplementedError(
            f"seesaw.transformers: attention_dropout = {dropout}, allowed: 0. Train without it, or "
            "call uninstall(model) before."
        )
    d_nope = module.qk_nope_head_dim
    q_nope, q_rope = query.transpose(1, 2).split([d_nope, query.shape[-1] - d_nope], -1)
    up = UpProjection.of(module.kv_b_proj.weight, d_nope, module.v_head_dim)
    latent, rope = key[:, 0], value[:, 0]
    s = latent.shape[1]
    padding = None if attention_mask is None or attention_mask.ndim != 2 else attention_mask
    custom = None if attention_mask is None or padding is not None else attention_mask
    layer: Optional[PagedLatentLayer] = getattr(key, "seesaw_layer", None)
    if layer is None:
        seen = custom if padding is None else _seen_in_batch(padding, s)
        return expanded(q_nope, q_rope, up, latent, rope, scaling, seen), None
    if custom is not None and layer.shared.padded:
        raise ValueError(
            "seesaw.transformers: an attention_mask of 4 dimensions after padding, allowed: one of "
            "2 dimensions. Pass which tokens are padding."
        )
    cache, places, past = layer.store(latent, rope, padding)
    if past == 0:
        seen = custom if padding is None else _seen_in_batch(padding, s)
        return expanded(q_nope, q_rope, up, latent, rope, scaling, seen), None
    if custom is None and not places.holes and absorbs(s, past, query.requires_grad):
        return absorbed(q_nope, q_rope, up, cache, places.step, scaling), None
    rows = cache.rows(past + s)
    seen = seen_by(places.step.positions, past + s) if custom is None else custom[..., : past + s]
    return expanded(q_nope, q_rope, up, *rows, scaling, seen), None


def _seen_in_batch(real: torch.Tensor, s: int) -> torch.Tensor:
    """[b, 1, s, s] bool of a batch whose tokens are [b, s]: causal without padding. A token of
    padding sees itself, so that its row is finite."""
    real = real[:, -s:]
    places = torch.arange(s, device=real.device)
    causal = places[:, None] >= places
    itself = places[:, None] == places
    return ((causal & real[:, None]) | itself)[:, None]
