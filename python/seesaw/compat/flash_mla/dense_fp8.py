"""FlashMLA's dense decoding over an e4m3 cache: queries of e4m3 become bfloat16, the cache is read
as it is."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from seesaw._arrays import library_of
from seesaw._decode import dense_decode
from seesaw._keys import key_of_tensors, settings_key
from seesaw._tables import DENSE_DECODE
from seesaw.compat._refusals import require_rank, require_torch, wrong
from seesaw.compat.flash_mla.metadata import FlashMLASchedMeta

_WHERE = "flash_mla_with_kvcache"
_FORMAT = "fp8_576"
_TOKEN_BYTES = 576


def decode(
    q: Any,
    k_cache: Any,
    block_table: Any,
    cache_seqlens: Any,
    head_dim_v: int,
    metadata: Any,
    scale: Optional[float],
    causal: bool,
    descale_q: Any,
    descale_k: Any,
) -> Tuple[Any, Any]:
    require_torch(_WHERE, "q", q)
    require_rank(_WHERE, "q", q, "[b, s_q, h_q, d_qk]")
    require_torch(_WHERE, "k_cache", k_cache)
    if k_cache.element_size() != 1 or k_cache.shape[-1] != _TOKEN_BYTES:
        wrong(
            _WHERE,
            f"k_cache of {k_cache.shape[-1]} elements of {k_cache.dtype} a token with "
            "is_fp8_kvcache = True",
            "576 of float8_e4m3fn, or as many bytes",
            "Pass the cache as FlashMLA's dense kernels read it, or call seesaw.dense_decode.",
        )
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    queries = _queries_of(q, descale_q)
    settings: Dict[str, Any] = {"causal": causal, "empty_lse": "+inf", "kv_format": _FORMAT}
    schedule = None
    traces = library_of(q, "q", _WHERE).traces_calls
    if isinstance(metadata, FlashMLASchedMeta) and not (traces is not None and traces()):
        schedule = metadata.schedule_again(head_dim_v, causal)
        if schedule is None:
            named = {"q": queries, "kv_cache": k_cache, "block_table": block_table}
            named["seq_lens"] = cache_seqlens
            tensors = [named.get(arg.name) for arg in DENSE_DECODE.args]
            base = settings_key(DENSE_DECODE, d_v=head_dim_v, **settings)
            key = key_of_tensors(DENSE_DECODE, base, tensors)
            schedule = metadata.fill(key, [cache_seqlens], head_dim_v, causal)
    out, lse = dense_decode(
        queries,
        k_cache,
        block_table,
        cache_seqlens,
        scale=scale,
        d_v=head_dim_v,
        schedule=schedule,
        kv_scale=descale_k,
        **settings,
    )
    return out, lse


def _queries_of(q: Any, descale_q: Any) -> Any:
    """bfloat16: every e4m3 is one. Times descale_q they are rounded to it once."""
    import torch

    if q.element_size() != 1:
        if descale_q is not None:
            wrong(
                _WHERE,
                f"descale_q with q of {q.dtype}",
                "with float8_e4m3fn",
                "Leave descale_q out.",
            )
        return q
    numbers = q if q.dtype == torch.float8_e4m3fn else q.view(torch.float8_e4m3fn)
    if descale_q is None:
        return numbers.to(torch.bfloat16)
    return (numbers.to(torch.float32) * descale_q).to(torch.bfloat16)
