"""What the dense and the sparse backend share."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

import seesaw
from seesaw._fields import ProblemBase, dtype_name
from seesaw.compat.vllm_ops import concat_and_cache_mla

D_QK, D_V, D_ROPE = 576, 512, 64
FP8 = ("fp8", "fp8_e4m3")
"""vLLM's names of a cache of e4m3 with one scale for all of it."""
FP8_PACKED = "fp8_ds_mla"
"""Its name of a cache of 656 bytes a token: e4m3, four scales, the rotary part in bfloat16."""
OLDEST = 8
"""Major compute capability from which on a kernel of this library decodes."""
_EXTRAS = ("alibi_slopes", "sliding_window", "logits_soft_cap")
_EXTRAS_AT = (4, 5, 7)


def kv_format_of(kv_cache_dtype: str, dtype: torch.dtype) -> Any:
    """The cache's kv_format for vLLM's name of it."""
    if kv_cache_dtype in FP8:
        return "fp8_576"
    if kv_cache_dtype == FP8_PACKED:
        return "fp8_656"
    return dtype_name(dtype) if kv_cache_dtype == "auto" else kv_cache_dtype


def strides_of_cache(vllm_config: Any, layer_names: Sequence[str]) -> Dict[str, Any]:
    """A problem's strides of the cache, which vLLM has bound to the layers by the first step; none
    where it is packed. Between a layer's pages there may be those of others."""
    layer = vllm_config.compilation_config.static_forward_context.get(layer_names[0])
    cache = getattr(layer, "kv_cache", None)
    if not isinstance(cache, torch.Tensor) or cache.ndim != 3:
        return {}
    page, token, _ = cache.stride()
    if (page, token) == (cache.shape[1] * cache.shape[2], cache.shape[2]):
        return {}
    return {"kv_page_stride": page, "kv_token_stride": token}


def stride_order(include_num_layers_dimension: bool = False) -> Tuple[int, ...]:
    """vLLM 0.26's order of a cache's dimensions in memory: pages outermost, also of the layers, as
    any distance between pages is taken. (Later versions take that from every backend.)"""
    return (1, 0, 2, 3) if include_num_layers_dimension else (0, 1, 2)


def why_not(problem: ProblemBase, device_capability: Any) -> Optional[str]:
    """Why no kernel of this build runs a problem here, in the library's words; None: one does."""
    try:
        device = "cpu" if device_capability is None else "cuda"
        answers = seesaw.supports(problem, device=device)
    except (ValueError, RuntimeError) as error:
        return f"seesaw: {error}"
    if any(answer.supported for answer in answers):
        return None
    return "seesaw: " + "; ".join(f"{answer.kernel}: {answer.reason}" for answer in answers)


def refuse_extras(args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Of a layer's arguments, in vLLM's order or by name: what changes attention's equation."""
    for name, place in zip(_EXTRAS, _EXTRAS_AT):
        value = args[place] if place < len(args) else named.get(name)
        if value:
            raise NotImplementedError(
                f"seesaw.vllm: {name} = {value!r}, allowed: none. Choose another backend "
                "for this model."
            )


class Answers:
    """Of a backend: what both answer alike."""

    get_kv_cache_stride_order = staticmethod(stride_order)

    @staticmethod
    def get_name() -> str:
        return "CUSTOM"

    @classmethod
    def get_supported_head_sizes(cls) -> List[int]:
        return [D_QK]

    @classmethod
    def supports_compute_capability(cls, capability: Any) -> bool:
        return capability is None or capability.major >= OLDEST

    @classmethod
    def supports_batch_invariance(cls) -> bool:
        return True


class WritesCache:
    """Of a layer: writes the cache by `seesaw.append`."""

    def do_kv_cache_update(
        self,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
        kv_cache_dtype: str,
        k_scale: torch.Tensor,
        skip_scale: bool = False,
    ) -> None:
        """Writes new tokens: kv_c_normed [t, 512], k_pe [t, 1, 64], slot_mapping [n], n <= t.
        skip_scale: k_scale is 1 and need not be read. (0.33)"""
        if kv_cache.numel() == 0:
            return
        # "bfloat16" and the like are the dtype of the cache itself.
        dtype = kv_cache_dtype if kv_cache_dtype in (*FP8, FP8_PACKED) else "auto"
        k_pe = k_pe.reshape(k_pe.shape[0], -1)
        slots = slot_mapping.flatten()
        concat_and_cache_mla(kv_c_normed, k_pe, kv_cache, slots, dtype, k_scale, skip_scale)


def parts_of(q: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    """Absorbed queries as vLLM brings them: its pair of [t, h, 512] and [t, h, 64], or both parts
    of one tensor [t, h, 576] (under context parallelism)."""
    return q if isinstance(q, tuple) else (q[..., :D_V], q[..., D_V:])
