"""`flash_mla_with_kvcache` over Seesaw's dense and sparse decoding."""

from __future__ import annotations

from operator import index
from typing import Any, NoReturn, Optional, Sequence, Tuple

from seesaw._arrays import known_libraries, library_of, refuse_other_library
from seesaw._call import run
from seesaw._decode import decode_scheduled
from seesaw._keys import Key, key_of_tensors, settings_key
from seesaw._tables import DENSE_DECODE
from seesaw.compat.flash_mla import dense_fp8, sparse
from seesaw.compat.flash_mla.metadata import FlashMLASchedMeta, PairedSchedules

_WHERE = "flash_mla_with_kvcache"
_WIDEST = next(field.most for field in DENSE_DECODE.problem if field.name == "d_v")
_paired_schedules = PairedSchedules()


def flash_mla_with_kvcache(
    q: Any,
    k_cache: Any,
    block_table: Any,
    cache_seqlens: Any,
    head_dim_v: int = 512,
    tile_scheduler_metadata: Any = None,
    num_splits: Any = None,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    is_fp8_kvcache: bool = False,
    indices: Any = None,
    attn_sink: Any = None,
    extra_k_cache: Any = None,
    extra_indices_in_kvcache: Any = None,
    topk_length: Any = None,
    extra_topk_length: Any = None,
    descale_q: Any = None,
    descale_k: Any = None,
) -> Tuple[Any, Any]:
    """MLA decoding, as FlashMLA's function of this name: dense, or sparse with `indices`. On a GPU:
    asynchronous on PyTorch's current stream, capturable in a CUDA graph.

    Args:
        q: [b, s_q, h_q, d_qk] bfloat16, float16 or float32; float8_e4m3fn for a dense e4m3 cache.
        k_cache: [num_pages, page_size, h_k, d_qk].
        block_table: [b, max_pages_per_sequence] int32. Not looked at with indices, as the next.
        cache_seqlens: [b] int32.
        head_dim_v: d_v.
        tile_scheduler_metadata, num_splits: Of `get_mla_metadata`, in either form.
        softmax_scale: None: d_qk ** -0.5.
        causal: Bottom-right aligned. Not with indices: they say what a token sees.
        is_fp8_kvcache: With indices: k_cache and extra_k_cache hold bytes, 656 a token
            (DeepSeek-V3.2) or 584 (V4). Without: k_cache is float8_e4m3fn, 576 a token, and out is
            bfloat16. False: their own dtype.
        indices: [b, s_q, topk] int32: slots, page * page_size + place. Any topk; what is no slot,
            -1 above all, is passed over.
        attn_sink: [h_q] float32, natural logarithms. This and what follows up to
            extra_topk_length: with indices.
        extra_k_cache, extra_indices_in_kvcache: As k_cache and indices, of a second cache with a
            page size of its own. One softmax goes over both.
        topk_length, extra_topk_length: [b] int32: how many slots of each list count.
        descale_q, descale_k: [1] float32, of a dense e4m3 cache: what numbers of q (e4m3) and of
            k_cache are multiplied by; q then is rounded to bfloat16. None: 1.

    Returns:
        (out [b, s_q, h_q, head_dim_v] as q, lse [b, h_q, s_q] float32, natural log, +inf where
        there is nothing to attend).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: FlashMLA has it and Seesaw does not, or no kernel of this build runs it
            here.
    """
    is_sparse = not (
        indices
        is attn_sink
        is extra_k_cache
        is extra_indices_in_kvcache
        is topk_length
        is extra_topk_length
        is None
    )
    if is_fp8_kvcache and not is_sparse:
        return dense_fp8.decode(
            q,
            k_cache,
            block_table,
            cache_seqlens,
            head_dim_v,
            tile_scheduler_metadata,
            softmax_scale,
            causal,
            descale_q,
            descale_k,
        )
    if descale_q is not None or descale_k is not None:
        raise ValueError(
            f"{_WHERE}: descale_q or descale_k without a dense e4m3 cache, allowed: with "
            "is_fp8_kvcache = True and no indices. Leave them out."
        )
    arrays = known_libraries.get(type(q)) or library_of(q, "q", _WHERE)
    if arrays.name != "torch":
        raise TypeError(
            f"{_WHERE}: q of type {type(q).__name__}, allowed: a torch.Tensor. Convert it, or call "
            "seesaw.dense_decode."
        )
    shape = q.shape
    if len(shape) != 4:
        raise ValueError(
            f"flash_mla_with_kvcache: q has rank {len(shape)}, allowed: [b, s_q, h_q, d_qk]. "
            "Reshape the array."
        )
    b, s_q, h_q, d_qk = shape
    scale = d_qk**-0.5 if softmax_scale is None else softmax_scale
    metadata = tile_scheduler_metadata
    if is_sparse:
        if not isinstance(metadata, FlashMLASchedMeta) and not hasattr(metadata, "is_inference"):
            _refuse_metadata(metadata)
        if causal:
            raise ValueError(
                f"{_WHERE}: causal = True with indices, allowed: False, as lists say what a token "
                "sees. Leave causal out."
            )
        lists = sparse.Sparse(
            indices,
            attn_sink,
            extra_k_cache,
            extra_indices_in_kvcache,
            topk_length,
            extra_topk_length,
        )
        return sparse.decode(q, k_cache, head_dim_v, metadata, scale, is_fp8_kvcache, lists)
    if (
        type(cache_seqlens) is not type(q)
        and library_of(cache_seqlens, "cache_seqlens", _WHERE) is not arrays
    ):
        refuse_other_library(arrays, cache_seqlens, "cache_seqlens", _WHERE)
    if type(head_dim_v) is not int or not 0 < head_dim_v <= _WIDEST:
        head_dim_v = _width("head_dim_v", head_dim_v)
    traces = arrays.traces_calls
    if traces is not None and traces():
        settings = {"causal": causal, "empty_lse": "+inf"}
        return arrays.tracer().record(
            q, k_cache, block_table, cache_seqlens, (None,) * 4, scale, head_dim_v, settings
        )
    out = q.new_empty(b, s_q, h_q, head_dim_v)
    if isinstance(metadata, FlashMLASchedMeta):
        schedule = metadata.schedule_again(head_dim_v, causal)
        if schedule is None:
            key = _key_of((q, k_cache, block_table, cache_seqlens, out), head_dim_v, causal)
            schedule = metadata.fill(key, [cache_seqlens], head_dim_v, causal)
        lse = metadata.float32.new_empty(b, h_q, s_q)
        decode_scheduled(arrays, schedule, scale, q, k_cache, block_table, cache_seqlens, out, lse)
        return out, lse
    if not hasattr(metadata, "is_inference"):
        _refuse_metadata(metadata)
    lse = arrays.empty((b, h_q, s_q), "float32", q)
    tensors = (q, k_cache, block_table, cache_seqlens, out, lse, None)
    schedule = _paired_schedules.find(metadata, cache_seqlens, head_dim_v, causal)
    if schedule is not None:
        try:
            decode_scheduled(
                arrays, schedule, scale, q, k_cache, block_table, cache_seqlens, out, lse
            )
            return out, lse
        except (ValueError, TypeError):
            pass  # tensors of another problem, or lengths that were written unseen
    key = _key_of(tensors, head_dim_v, causal)
    schedule = _paired_schedules.make(metadata, cache_seqlens, head_dim_v, causal, key)
    buffer = None if schedule is None else schedule.buffer
    run(DENSE_DECODE, arrays, key, tensors, (scale,), buffer, None, True)
    return out, lse


def _width(name: str, value: Any) -> int:
    try:
        width = index(value)
    except TypeError:
        raise TypeError(
            f"{_WHERE}: {name} of type {type(value).__name__}, allowed: an integer. Pass an int."
        ) from None
    if not 0 < width <= _WIDEST:
        raise ValueError(f"{_WHERE}: {name} = {width}, allowed: 1 to {_WIDEST}. Correct its value.")
    return width


def _refuse_metadata(metadata: Any) -> NoReturn:
    if metadata is None:
        raise TypeError(
            f"{_WHERE}: tile_scheduler_metadata is missing. Pass that of get_mla_metadata."
        )
    raise TypeError(
        f"{_WHERE}: tile_scheduler_metadata of type {type(metadata).__name__}, allowed: the first "
        "of the two that get_mla_metadata returns. Pass metadata, num_splits one by one."
    )


def _key_of(tensors: Sequence[Any], head_dim_v: int, causal: bool) -> Key:
    base = settings_key(DENSE_DECODE, d_v=head_dim_v, causal=causal, empty_lse="+inf")
    return key_of_tensors(DENSE_DECODE, base, tensors)
