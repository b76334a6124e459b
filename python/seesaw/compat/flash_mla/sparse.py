"""FlashMLA's sparse functions over Seesaw's: lists of slots, attention sinks, an extra cache."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from seesaw._arrays import library_of
from seesaw._keys import key_of_tensors, settings_key
from seesaw._schedule import Schedule
from seesaw._sparse import sparse_decode, sparse_prefill
from seesaw._tables import SPARSE_DECODE
from seesaw.compat._refusals import not_covered, require_rank, require_torch, wrong
from seesaw.compat.flash_mla.metadata import FlashMLASchedMeta

_DECODE, _PREFILL = "flash_mla_with_kvcache", "flash_mla_sparse_fwd"
_FORMATS = {656: "fp8_656", 584: "fp8_584"}
"""By the bytes of a token: DeepSeek-V3.2's, DeepSeek-V4's."""


class Sparse(NamedTuple):
    """The arguments of `flash_mla_with_kvcache` that make it sparse."""

    indices: Any
    attn_sink: Any
    extra_k_cache: Any
    extra_indices_in_kvcache: Any
    topk_length: Any
    extra_topk_length: Any


def decode(
    q: Any,
    k_cache: Any,
    head_dim_v: int,
    metadata: Any,
    scale: float,
    is_fp8_kvcache: bool,
    sparse: Sparse,
) -> Tuple[Any, Any]:
    if sparse.indices is None:
        names = [name for name, value in zip(sparse._fields, sparse) if value is not None]
        wrong(_DECODE, f"{', '.join(names)} without indices", "with them", "Pass indices, too.")
    if (sparse.extra_k_cache is None) != (sparse.extra_indices_in_kvcache is None):
        given, missing = "extra_k_cache", "extra_indices_in_kvcache"
        if sparse.extra_k_cache is None:
            given, missing = missing, given
        wrong(_DECODE, f"{given} without {missing}", "both, or neither", "Pass both.")
    settings: Dict[str, Any] = {"empty_lse": "+inf"}
    if is_fp8_kvcache:
        settings["kv_format"] = _format_of("k_cache", k_cache)
        if sparse.extra_k_cache is not None:
            settings["extra_kv_format"] = _format_of("extra_k_cache", sparse.extra_k_cache)
    named = {
        "topk_length": sparse.topk_length,
        "sinks": sparse.attn_sink,
        "extra_kv_cache": sparse.extra_k_cache,
        "extra_indices": sparse.extra_indices_in_kvcache,
        "extra_topk_length": sparse.extra_topk_length,
    }
    schedule = None
    traces = library_of(q, "q", _DECODE).traces_calls
    if isinstance(metadata, FlashMLASchedMeta) and not (traces is not None and traces()):
        schedule = metadata.schedule_again(head_dim_v, False, SPARSE_DECODE)
        if schedule is None:
            of_tensors = {"q": q, "kv_cache": k_cache, "indices": sparse.indices, **named}
            schedule = _fill(metadata, of_tensors, head_dim_v, settings)
    out, lse = sparse_decode(
        q,
        k_cache,
        sparse.indices,
        scale=scale,
        d_v=head_dim_v,
        schedule=schedule,
        **named,
        **settings,
    )
    return out, lse


def _fill(
    metadata: FlashMLASchedMeta, named: Dict[str, Any], head_dim_v: int, settings: Dict[str, Any]
) -> Schedule:
    tensors = [named.get(arg.name) for arg in SPARSE_DECODE.args]
    base = settings_key(SPARSE_DECODE, d_v=head_dim_v, **settings)
    key = key_of_tensors(SPARSE_DECODE, base, tensors)
    lengths = [tensor for arg, tensor in zip(SPARSE_DECODE.args, tensors) if arg.prepares]
    return metadata.fill(key, lengths, head_dim_v, False, SPARSE_DECODE)


def _format_of(name: str, cache: Any) -> str:
    require_torch(_DECODE, name, cache)
    token_bytes = cache.shape[-1]
    if token_bytes not in _FORMATS:
        wrong(
            _DECODE,
            f"{name} of {token_bytes} bytes a token with is_fp8_kvcache = True",
            "656 (DeepSeek-V3.2), 584 (DeepSeek-V4)",
            "Pass the cache as FlashMLA's kernels read it, or call seesaw.sparse_decode.",
        )
    return _FORMATS[token_bytes]


def flash_mla_sparse_fwd(
    q: Any,
    kv: Any,
    indices: Any,
    sm_scale: float,
    d_v: int = 512,
    attn_sink: Optional[Any] = None,
    topk_length: Optional[Any] = None,
    indexer_topk: int = 0,
) -> Tuple[Any, Any, Any]:
    """Sparse MLA prefill, as FlashMLA's function of this name. On a GPU: asynchronous on PyTorch's
    current stream, capturable in a CUDA graph.

    Args:
        q: [s_q, h_q, d_qk] bfloat16, float16 or float32.
        kv: [s_kv, h_kv, d_qk], h_kv = 1.
        indices: [s_q, h_kv, topk] int32: rows of kv; any topk; what is no row is passed over.
        sm_scale: Of the scores.
        d_v: Columns of out.
        attn_sink: [h_q] float32, natural logarithms.
        topk_length: [s_q] int32. Rows behind it are not read, whatever they hold.
        indexer_topk: Refused if not 0.

    Returns:
        (out [s_q, h_q, d_v] as q, max_logits [s_q, h_q] float32, lse [s_q, h_q] float32, natural
        log, +inf where there is nothing to attend).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: indexer_topk is given, or no kernel of this build runs it here.
    """
    require_torch(_PREFILL, "q", q)
    require_rank(_PREFILL, "q", q, "[s_q, h_q, d_qk]")
    if indexer_topk != 0:
        not_covered(
            _PREFILL, f"indexer_topk = {indexer_topk}", "0", "Call it for the shorter lists."
        )
    out, lse, max_logits = sparse_prefill(
        q,
        kv,
        indices,
        scale=sm_scale,
        d_v=d_v,
        topk_length=topk_length,
        sinks=attn_sink,
        return_max_logits=True,
        empty_lse="+inf",
    )
    return out, max_logits, lse
