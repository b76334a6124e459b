"""Sparse decoding and sparse prefill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from seesaw._arrays import Array, ArrayLibrary, library_of, one_number
from seesaw._call import run
from seesaw._decode import D_V, whole_number
from seesaw._fields import Operation
from seesaw._formats import check_kv_scale
from seesaw._keys import known_settings_key, settings_key
from seesaw._schedule import Schedule, check_agreement, require_schedule
from seesaw._tables import (
    SPARSE_DECODE,
    SPARSE_PREFILL,
    SparseDecodeSettings,
    SparsePrefillSettings,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


def sparse_decode(
    q: Array,
    kv_cache: Array,
    indices: Array,
    *,
    scale: float,
    topk_length: Optional[Array] = None,
    sinks: Optional[Array] = None,
    extra_kv_cache: Optional[Array] = None,
    extra_indices: Optional[Array] = None,
    extra_topk_length: Optional[Array] = None,
    kv_scale: Optional[Array] = None,
    extra_kv_scale: Optional[Array] = None,
    schedule: Optional[Schedule] = None,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    max_logits: Optional[Array] = None,
    return_max_logits: bool = False,
    workspace: Optional[Array] = None,
    d_v: Optional[int] = None,
    q_rotary: Optional[Array] = None,
    **settings: Unpack[SparseDecodeSettings],
) -> Tuple[Array, ...]:
    """Sparse MLA decoding: every query token attends the cached tokens of a list of its own.

        out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the tokens of indices[b, i]
        lse[b, h, i]    = log(sum(exp(scale * q K^T)))

    with V the first `d_v` columns of K. A slot outside of the cache, -1 above all, is passed over,
    and nothing is read for it; one that is named twice counts twice. A row with nothing to attend
    gives out = 0 and an infinite lse. With an extra cache, one softmax goes over the tokens of
    both. Same inputs, same bits. On a GPU: asynchronous on the current stream of the array library,
    no synchronisation, capturable in a CUDA graph. Thread-safe. (DeepSeek-V3.2's sparse attention;
    FlashMLA's conventions.)

    Arrays are of one library and on one device.

    Args:
        q: [b, s_q, h_q, d_qk] float32, bfloat16 or float16.
        kv_cache: [num_pages, page_size, 1, d_qk] of any such dtype, any strides but the last; or of
            bytes (uint8, or int8 or float8_e4m3fn, taken as bytes), [num_pages, page_size, 1, token
            bytes], with kv_format. The 1 may be left out.
        indices: [b, s_q, topk] int32: slots, page * page_size + place in the page.
        scale: Of the scores; the model's (`seesaw.softmax_scale`).
        topk_length: [b] int32: how many slots of each list count; those behind may hold anything.
            Below 0 is 0, above topk is topk. None: topk.
        sinks: [h_q] float32, contiguous: out is multiplied by exp(lse) / (exp(lse) + exp(sink));
            lse and max_logits do not know of it. None: none.
        extra_kv_cache, extra_indices, extra_topk_length, extra_kv_scale: As kv_cache, indices
            [b, s_q, extra_topk], topk_length and kv_scale, of a second cache with a page size and a
            format of its own (extra_kv_format; None: kv_format). None: there is none.
        kv_scale: [1] float32: what every number of the cache is multiplied by, in formats of one
            scale (fp8_576). None: 1.
        schedule: Of `make_schedule(problem, indices, topk_length, extra_topk_length)` for the same
            lengths. None: made by this call. If given, its problem and options decide the settings.
        out: [b, s_q, h_q, d_v] as q, every element is written. None: allocated.
        lse: [b, h_q, s_q] float32, any strides. None: allocated.
        max_logits: [b, h_q, s_q] float32, any strides: gets the largest score of each row, -inf
            where there is none. None: allocated if `return_max_logits`, else not computed.
        workspace: uint8 of `workspace_size(schedule)`. None: allocated for this call.
        d_v: Columns of out; None: 512.
        q_rotary: [b, s_q, h_q, d_rope] as q: the last columns of the queries, where q has the first
            d_qk - d_rope alone, as of `dense_decode`. None: q has all.
        settings: kv_format, extra_kv_format, lse_base and empty_lse of `SparseDecodeProblem`;
            num_threads, batch_invariant, check_data, kernel and tuning of `Options`. With
            check_data entries that are neither -1 nor a slot are refused.

    Returns:
        (out, lse), or (out, lse, max_logits) where it was asked for.

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
        RuntimeError: The CUDA driver failed, or the library did.
    """
    named = {
        "q": q,
        "kv_cache": kv_cache,
        "indices": indices,
        "out": out,
        "lse": lse,
        "max_logits": max_logits,
        "topk_length": topk_length,
        "sinks": sinks,
        "extra_kv_cache": extra_kv_cache,
        "extra_indices": extra_indices,
        "extra_topk_length": extra_topk_length,
        "kv_scale": one_number(kv_scale),
        "extra_kv_scale": one_number(extra_kv_scale),
        "q_rotary": q_rotary,
    }
    _check_extra(named)
    asked = Asked(scale, d_v, schedule, workspace, return_max_logits or max_logits is not None)
    return _attend(SPARSE_DECODE, named, asked, settings)


def sparse_prefill(
    q: Array,
    kv: Array,
    indices: Array,
    *,
    scale: float,
    topk_length: Optional[Array] = None,
    sinks: Optional[Array] = None,
    kv_scale: Optional[Array] = None,
    schedule: Optional[Schedule] = None,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    max_logits: Optional[Array] = None,
    return_max_logits: bool = False,
    workspace: Optional[Array] = None,
    d_v: Optional[int] = None,
    q_rotary: Optional[Array] = None,
    **settings: Unpack[SparsePrefillSettings],
) -> Tuple[Array, ...]:
    """Sparse MLA prefill: n query tokens attend rows of one contiguous array, each by a list.

        out[i, h, :] = softmax(scale * q[i, h, :] K^T) V over the rows of indices[i]
        lse[i, h]    = log(sum(exp(scale * q K^T)))

    A number that is no row, below 0 or from s_kv on, is passed over, and nothing is read for it.
    Everything else is as of `sparse_decode`: V, empty rows, determinism, streams, errors, and the
    arguments that are not named here.

    Args:
        q: [n, h_q, d_qk] float32, bfloat16 or float16.
        kv: [s_kv, 1, d_qk] of any such dtype; or of bytes with kv_format, a format whose record is
            one row (fp8_656, fp8_576). The 1 may be left out.
        indices: [n, 1, topk] int32: row numbers. The 1 may be left out.
        topk_length: [n] int32: how many rows of each list count.
        q_rotary: [n, h_q, d_rope] as q.
        schedule: Of `make_schedule(problem, indices, topk_length)`.
        out: [n, h_q, d_v] as q.
        lse, max_logits: [n, h_q] float32, any strides.
        settings: kv_format, lse_base and empty_lse of `SparsePrefillProblem`, and `Options`.

    Returns:
        (out, lse), or (out, lse, max_logits) where it was asked for.
    """
    named = {
        "q": q,
        "kv": kv,
        "indices": indices,
        "out": out,
        "lse": lse,
        "max_logits": max_logits,
        "topk_length": topk_length,
        "sinks": sinks,
        "kv_scale": one_number(kv_scale),
        "q_rotary": q_rotary,
    }
    asked = Asked(scale, d_v, schedule, workspace, return_max_logits or max_logits is not None)
    return _attend(SPARSE_PREFILL, named, asked, settings)


class Asked(NamedTuple):
    """What a call brings beside its tensors and its settings."""

    scale: float
    d_v: Optional[int]
    schedule: Optional[Schedule]
    workspace: Optional[Array]
    wants_max_logits: bool


def _check_extra(named: Mapping[str, Any]) -> None:
    cache, lists = named["extra_kv_cache"], named["extra_indices"]
    if (cache is None) != (lists is None):
        given = "extra_indices" if cache is None else "extra_kv_cache"
        raise ValueError(
            f"sparse_decode: {given} alone, allowed: extra_kv_cache with extra_indices, or "
            "neither. Pass both."
        )
    for name in ("extra_topk_length", "extra_kv_scale"):
        if cache is None and named[name] is not None:
            raise ValueError(
                f"sparse_decode: {name} without extra_kv_cache, allowed: with it. Leave it out."
            )


def _check_scales(
    operation: Operation,
    named: Mapping[str, Any],
    schedule: Optional[Schedule],
    settings: Mapping[str, Any],
) -> None:
    """Refuses scales of caches whose formats have none."""
    if named["kv_scale"] is None and named.get("extra_kv_scale") is None:
        return
    problem = None if schedule is None else schedule.problem
    kv_format = settings.get("kv_format") if problem is None else problem.kv_format  # type: ignore
    if named["kv_scale"] is not None:
        check_kv_scale(operation.name, kv_format)
    if named.get("extra_kv_scale") is not None:
        if problem is None:
            extra_format = settings.get("extra_kv_format") or kv_format
        else:
            extra_format = problem.extra_kv_format  # type: ignore[attr-defined]
        check_kv_scale(operation.name, extra_format, "extra_")


def sparse_shapes(
    operation: Operation, q: Array, d_v: int
) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Of out, and of lse and max_logits."""
    wanted = operation.args[0].shape
    if len(q.shape) != wanted.count(",") + 1:
        raise ValueError(
            f"{operation.name}: q has rank {len(q.shape)}, allowed: {wanted}. Reshape the array."
        )
    *tokens, h_q, _ = q.shape
    numbers = (tokens[0], h_q, *tokens[1:])
    return (*tokens, h_q, d_v), numbers


def key_of_settings(operation: Operation, d_v: int, settings: Mapping[str, Any]) -> bytes:
    try:
        return known_settings_key(operation, d_v=d_v, **settings)
    except TypeError:
        return settings_key(operation, d_v=d_v, **settings)


def _attend(
    operation: Operation, named: Dict[str, Any], asked: Asked, settings: Mapping[str, Any]
) -> Tuple[Array, ...]:
    where, q, schedule = operation.name, named["q"], asked.schedule
    arrays = library_of(q, "q", where)
    if schedule is not None:
        require_schedule(operation, schedule)
        check_agreement(schedule, asked.d_v, settings)
    _check_scales(operation, named, schedule, settings)
    if schedule is not None:
        d_v = schedule.d_v
    else:
        d_v = D_V if asked.d_v is None else whole_number(asked.d_v, where)
    out_shape, numbers = sparse_shapes(operation, q, d_v)
    wants = ("out", "lse", "max_logits") if asked.wants_max_logits else ("out", "lse")
    traces = arrays.traces_calls
    if traces is not None and traces():
        return arrays.tracer().record_sparse(operation, named, wants, d_v, asked, settings)
    given = [named[name] for name in wants if named[name] is not None]
    if named["out"] is None:
        named["out"] = arrays.empty(out_shape, "like", q)
    for name in wants[1:]:
        if named[name] is None:
            named[name] = arrays.empty(numbers, "float32", q)
    run_sparse(operation, arrays, in_order(operation, named), asked, d_v, settings, given)
    return tuple(named[name] for name in wants)


def in_order(operation: Operation, named: Mapping[str, Any]) -> Tuple[Any, ...]:
    """Tensors in the order of the operation's table."""
    return tuple(named[arg.name] for arg in operation.args)


def run_sparse(
    operation: Operation,
    arrays: ArrayLibrary,
    tensors: Sequence[Any],
    asked: Asked,
    d_v: int,
    settings: Mapping[str, Any],
    given_outputs: Sequence[Array],
) -> None:
    """`tensors`: in the order of the operation's table."""
    schedule = asked.schedule
    if schedule is None:
        key, buffer = key_of_settings(operation, d_v, settings), None
    else:
        key, buffer = schedule.key, schedule.buffer
    complete = schedule is not None
    scalars = (asked.scale,)
    run(operation, arrays, key, tensors, scalars, buffer, asked.workspace, complete, given_outputs)
