"""Dense decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from seesaw._arrays import Array, ArrayLibrary, library_of
from seesaw._keys import Key, key_of_tensors, settings_key
from seesaw._library import library
from seesaw._schedule import ROOM_TO_ALIGN, Schedule
from seesaw._tables import DENSE_DECODE, DenseDecodeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

D_V = next(field.default for field in DENSE_DECODE.problem if field.name == "d_v")


def dense_decode(
    q: Array,
    kv_cache: Array,
    block_table: Array,
    seq_lens: Array,
    *,
    schedule: Optional[Schedule] = None,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    workspace: Optional[Array] = None,
    scale: Optional[float] = None,
    d_v: Optional[int] = None,
    **settings: Unpack[DenseDecodeSettings],
) -> Tuple[Array, Array]:
    """Dense MLA decoding over a paged cache of latents.

        out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the keys that token i sees
        lse[b, h, i]    = log(sum(exp(scale * q K^T)))

    with V the first `d_v` columns of K. A row with nothing to attend gives out = 0 and an infinite
    lse. Same inputs, same bits. On a GPU: asynchronous on the current stream of the array library,
    no synchronisation, capturable in a CUDA graph. Thread-safe. (DeepSeek-V2, arXiv:2405.04434,
    section 2.1.2, in its absorbed form.)

    Args:
        q: [b, s_q, h_q, d_qk] float32, bfloat16 or float16.
        kv_cache: [num_pages, page_size, h_kv, d_qk] of any such dtype, any strides but the last; or
            [num_pages, page_size, d_qk].
        block_table: [b, max_pages_per_sequence] int32: page ids.
        seq_lens: [b] int32: tokens in the cache, the s_q new ones included.
        schedule: Of `make_schedule` for the same lengths. None: made by this call. If given, its
            problem and options decide everything below, which may be left out.
        out: [b, s_q, h_q, d_v] as q, every element is written. None: allocated.
        lse: [b, h_q, s_q] float32. None: allocated.
        workspace: uint8 of `workspace_size(schedule)`. None: allocated from the array library for
            this call.
        scale: Of the scores. None: d_qk ** -0.5, as in FlashMLA; DeepSeek's is 192 ** -0.5, of
            the head before absorption.
        d_v: Columns of out; None: 512.
        settings: causal, lse_base and empty_lse of `Problem`; num_threads, batch_invariant,
            check_data, kernel and tuning of `Options`; with their defaults.

    Returns:
        (out, lse).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
    """
    arrays = library_of(q, "q")
    if arrays.traces_calls():
        return arrays.traced_dense_decode(
            q, kv_cache, block_table, seq_lens, (schedule, out, lse, workspace), scale, d_v, settings
        )
    if schedule is None:
        given = (q, kv_cache, block_table, seq_lens, out, lse)
        base = settings_key(DENSE_DECODE, d_v=D_V if d_v is None else d_v, **settings)
        key = key_of_tensors(DENSE_DECODE, base, given)
        buffers = own_schedule(arrays, key, q, seq_lens, workspace)
        columns = D_V if d_v is None else d_v
    else:
        if settings or d_v is not None:
            check_agreement(schedule, d_v, settings)
        key = schedule.key
        if workspace is None and schedule.workspace_elements:
            workspace = arrays.empty((schedule.workspace_elements,), "uint8", q)
        buffers = (schedule.buffer, workspace)
        if scale is None:
            scale = schedule.scale
    if out is None:
        b, s_q, h_q, _ = q.shape
        if schedule is not None:
            columns = schedule.problem.d_v  # type: ignore[attr-defined]
        out = arrays.empty((b, s_q, h_q, columns), "like", q)
    if lse is None:
        b, s_q, h_q, _ = q.shape
        lse = arrays.empty((b, h_q, s_q), "float32", q)
    if scale is None:
        scale = default_scale(q, schedule)
    run(arrays, key, buffers, (q, kv_cache, block_table, seq_lens, out, lse), scale)
    return out, lse


def run(
    arrays: ArrayLibrary,
    key: Key,
    buffers: Tuple[Optional[Array], Optional[Array]],
    tensors: Sequence[Array],
    scale: float,
) -> None:
    """Runs on tensors (q, kv_cache, block_table, seq_lens, out, lse) and buffers (schedule,
    workspace); a schedule of this call's own where none is given."""
    stream = arrays.stream(tensors[0])
    if arrays.direct:
        try:
            library.run(key, stream, 0, *buffers, *tensors, scale)
            return
        except BufferError:
            pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
    seen = [arrays.seen(tensor, "dense_decode") for tensor in (*buffers, *tensors)]
    library.run(key, stream, arrays.bits, *seen, scale)


def own_schedule(
    arrays: ArrayLibrary, key: Key, q: Array, seq_lens: Array, workspace: Optional[Array]
) -> Tuple[Optional[Array], Optional[Array]]:
    """(schedule, workspace) of a call that brings no schedule: one array for both, unless the
    workspace is the caller's."""
    if workspace is None:
        elements = library.both_bytes(key) + ROOM_TO_ALIGN
        return None, arrays.empty((elements,), "uint8", q)
    schedule = Schedule(key, q)
    schedule.update(seq_lens)
    return schedule.buffer, workspace


def default_scale(q: Array, schedule: Optional[Schedule] = None) -> float:
    scale = q.shape[-1] ** -0.5
    if schedule is not None:
        schedule.scale = scale
    return scale


def check_agreement(schedule: Schedule, d_v: Optional[int], settings: Dict[str, Any]) -> None:
    """Refuses what is given with a schedule that was made for something else. None: not given."""
    for name, given in {"d_v": d_v, **settings}.items():
        holder = schedule.problem if hasattr(schedule.problem, name) else schedule.options
        agreed = getattr(holder, name)
        if given is not None and given != agreed:
            raise ValueError(
                f"dense_decode: {name} = {given!r}, allowed: {agreed!r}, as in the schedule. "
                "Leave it out, or make another schedule."
            )
