"""Dense decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from seesaw._arrays import Array, ArrayLibrary, check_devices, library_of
from seesaw._keys import Key, key_of_tensors, settings_key
from seesaw._library import BUFFERS_WANTED, library
from seesaw._schedule import Schedule
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
        columns = D_V if d_v is None else d_v
        key = settings_key(DENSE_DECODE, d_v=columns, **settings)
    else:
        if settings or d_v is not None:
            check_agreement(schedule, d_v, settings)
        key = schedule.key
        if scale is None:
            scale = schedule.scale
    if out is None or lse is None:
        if schedule is not None:
            columns = schedule.columns
        out, lse = allocate(arrays, q, out, lse, columns)
    if scale is None:
        scale = default_scale(q, schedule)
    tensors = (q, kv_cache, block_table, seq_lens, out, lse)
    if schedule is None:
        run(arrays, library.run_tensors, key, None, workspace, tensors, scale)
    else:
        run(arrays, library.run, key, schedule.buffer, workspace, tensors, scale)
    return out, lse


def run(
    arrays: ArrayLibrary,
    function: Any,
    key: Key,
    schedule: Optional[Array],
    workspace: Optional[Array],
    tensors: Sequence[Array],
    scale: float,
) -> None:
    """Runs on tensors (q, kv_cache, block_table, seq_lens, out, lse); with a schedule and a
    workspace of this call's own where None is given. `function`: library.run, or run_tensors if
    the key lacks what the tensors tell."""
    stream = arrays.stream(tensors[0])
    if arrays.direct:
        try:
            if function(key, stream, 0, schedule, workspace, *tensors, scale) == 0:
                return
        except BufferError:
            pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
        except RuntimeError:
            check_devices(arrays, tensors)
            raise
    seen = [arrays.seen(tensor, DENSE_DECODE.name) for tensor in (schedule, workspace, *tensors)]
    if function(key, stream, arrays.bits, *seen, scale) != BUFFERS_WANTED:
        return
    # An array library that hands its allocator to nobody: its arrays, then.
    q, _, _, seq_lens, *_ = tensors
    if function is library.run_tensors:
        key = key_of_tensors(DENSE_DECODE, key, tensors)
    own = Schedule(key, q)
    if schedule is None:
        seen[0] = arrays.seen(own.update(seq_lens).buffer, DENSE_DECODE.name)
    elements = own.workspace_elements
    if workspace is None and elements:
        seen[1] = arrays.seen(arrays.empty((elements,), "uint8", q), DENSE_DECODE.name)
    library.run(key, stream, arrays.bits, *seen, scale)


def allocate(
    arrays: ArrayLibrary, q: Array, out: Optional[Array], lse: Optional[Array], d_v: int
) -> Tuple[Array, Array]:
    """(out, lse), those that are not given."""
    shape = q.shape
    if len(shape) != 4:
        raise ValueError(
            f"dense_decode: q has rank {len(shape)}, allowed: [b, s_q, h_q, d_qk]. "
            "Reshape the array."
        )
    b, s_q, h_q, _ = shape
    if out is None:
        out = arrays.empty((b, s_q, h_q, d_v), "like", q)
    if lse is None:
        lse = arrays.empty((b, h_q, s_q), "float32", q)
    return out, lse


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
