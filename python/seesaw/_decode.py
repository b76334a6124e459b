"""Dense decoding."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple

from seesaw._arrays import Array, library_of, one_number
from seesaw._call import run
from seesaw._fields import dtype_name
from seesaw._formats import check_kv_scale
from seesaw._keys import known_settings_key, settings_key
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
    scale: float,
    schedule: Optional[Schedule] = None,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    workspace: Optional[Array] = None,
    d_v: Optional[int] = None,
    kv_scale: Optional[Array] = None,
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
            [num_pages, page_size, d_qk]. Or of bytes (uint8, or int8 or float8_e4m3fn, taken as
            bytes), [num_pages, page_size, 1, token bytes], with kv_format.
        block_table: [b, max_pages_per_sequence] int32: page ids.
        seq_lens: [b] int32: tokens in the cache, the s_q new ones included.
        scale: Of the scores; the model's, which `seesaw.softmax_scale` finds in its configuration.
            DeepSeek's is 192 ** -0.5, of the head before absorption, times YaRN's factor.
        schedule: Of `make_schedule` for the same lengths. None: made by this call. If given, its
            problem and options decide everything below, which may be left out.
        out: [b, s_q, h_q, d_v] as q, every element is written. None: allocated.
        lse: [b, h_q, s_q] float32. None: allocated.
        workspace: uint8 of `workspace_size(schedule)`. None: allocated from the array library for
            this call.
        d_v: Columns of out; None: 512.
        kv_scale: [1] float32, in the memory of the others: what every number of the cache is
            multiplied by, in formats of one scale (fp8_576). None: 1.
        settings: kv_format, of `seesaw.formats()` and needed for a cache of bytes, causal, lse_base
            and empty_lse of `Problem`; num_threads, batch_invariant, check_data, kernel and tuning
            of `Options`; with their defaults.

    Returns:
        (out, lse).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
    """
    arrays = library_of(q, "q")
    if kv_scale is not None:
        if schedule is None:
            check_kv_scale("dense_decode", settings.get("kv_format"))
        elif not isinstance(schedule, Schedule):
            require_schedule(schedule)
        else:
            check_kv_scale("dense_decode", getattr(schedule.problem, "kv_format", None))
        kv_scale = one_number(kv_scale)
    traces = arrays.traces_calls
    if traces is not None and traces():
        buffers = (schedule, out, lse, workspace)
        return arrays.tracer().record(
            q, kv_cache, block_table, seq_lens, buffers, scale, d_v, settings, kv_scale
        )
    if schedule is None:
        columns = D_V if d_v is None else d_v if type(d_v) is int else whole_number(d_v)
        try:
            key = known_settings_key(DENSE_DECODE, d_v=columns, **settings)
        except TypeError:
            key = settings_key(DENSE_DECODE, d_v=columns, **settings)
        buffer = None
    else:
        if type(schedule) is not Schedule or schedule.operation is not DENSE_DECODE:
            require_schedule(schedule)
        if settings or d_v is not None:
            check_agreement(schedule, d_v, settings)
        key, columns, buffer = schedule.key, schedule.d_v, schedule.buffer
    given = (out, lse)
    if out is None or lse is None:
        given = () if out is lse else (lse,) if out is None else (out,)
        b, s_q, h_q, _ = shape_of(q)
        if out is None:
            out = arrays.empty((b, s_q, h_q, columns), "like", q)
        if lse is None:
            lse = arrays.empty((b, h_q, s_q), "float32", q)
    tensors = (q, kv_cache, block_table, seq_lens, out, lse, kv_scale)
    complete = schedule is not None
    run(DENSE_DECODE, arrays, key, tensors, (scale,), buffer, workspace, complete, given)
    return out, lse


def whole_number(d_v: Any, where: str = "dense_decode") -> int:
    try:
        return index(d_v)
    except TypeError:
        raise TypeError(
            f"{where}: d_v of type {type(d_v).__name__}, allowed: an integer. Pass an int."
        ) from None


def require_schedule(schedule: Any) -> None:
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"dense_decode: schedule of type {type(schedule).__name__}, allowed: a Schedule. "
            "Get one from make_schedule."
        )
    if schedule.operation is not DENSE_DECODE:
        raise ValueError(
            f"dense_decode: a schedule of {schedule.operation.name}, allowed: one of dense_decode. "
            "Make it of this operation's problem."
        )


def shape_of(q: Array) -> Tuple[int, int, int, int]:
    try:
        b, s_q, h_q, d_qk = q.shape
    except ValueError:
        raise ValueError(
            f"dense_decode: q has rank {len(q.shape)}, allowed: [b, s_q, h_q, d_qk]. "
            "Reshape the array."
        ) from None
    return b, s_q, h_q, d_qk


def check_agreement(schedule: Schedule, d_v: Optional[int], settings: Mapping[str, Any]) -> None:
    """Refuses what is given with a schedule that was made for something else. None: not given."""
    for name, given in {"d_v": d_v, **settings}.items():
        holder = schedule.problem if hasattr(schedule.problem, name) else schedule.options
        if not hasattr(holder, name):
            where = schedule.operation.name
            raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")
        agreed = getattr(holder, name)
        if name.endswith("kv_format") and given is not None:
            given = dtype_name(given)
        if given is not None and given != agreed:
            raise ValueError(
                f"{schedule.operation.name}: {name} = {given!r}, allowed: {agreed!r}, as in the "
                "schedule. "
                "Leave it out, or make another schedule."
            )
