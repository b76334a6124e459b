"""Dense decoding."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from seesaw._arrays import Array, ArrayLibrary, call, library_of
from seesaw._library import MAKE_SCHEDULE, library
from seesaw._problem import (
    FIELD_D_QK,
    FIELD_D_V,
    FIELD_H_Q,
    FIELD_S_Q,
    LseBase,
    Problem,
    fields_of,
    make_options,
)
from seesaw._schedule import Planned, Schedule, planned


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
    causal: Optional[bool] = None,
    lse_base: Optional[LseBase] = None,
    empty_lse: Optional[str] = None,
    batch_invariant: Optional[bool] = None,
    check_data: Optional[bool] = None,
    num_threads: Optional[int] = None,
    kernel: Optional[str] = None,
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
            problem decides everything below `d_v`, which may be left out.
        out: [b, s_q, h_q, d_v] as q, every element is written. None: allocated.
        lse: [b, h_q, s_q] float32. None: allocated.
        workspace: uint8 of `workspace_size(problem)`. None: allocated from the array library for
            this call.
        scale: Of the scores. None: d_qk ** -0.5, as in FlashMLA; DeepSeek's is 192 ** -0.5, of
            the head before absorption.
        d_v: Columns of out; None: 512.
        causal, lse_base, empty_lse, batch_invariant, check_data, num_threads, kernel: As the
            attributes of `Problem`, with its defaults.

    Returns:
        (out, lse).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
    """
    options = (causal, lse_base, empty_lse, batch_invariant, check_data, num_threads, kernel)
    arrays = library_of(q, "q")
    if arrays.traces_calls():
        return arrays.traced_dense_decode(
            q, kv_cache, block_table, seq_lens, (schedule, out, lse, workspace), scale, d_v, options
        )
    if schedule is None:
        fields = fields_of(
            q, kv_cache, block_table, 512 if d_v is None else d_v, make_options(*options)
        )
        plan = planned(fields)
    else:
        check_agreement(schedule.problem, d_v, options)
        plan = schedule.planned
        fields = plan.fields
    shape = q.shape
    b = shape[0] if shape else 0
    if out is None:
        out = arrays.empty((b, fields[FIELD_S_Q], fields[FIELD_H_Q], fields[FIELD_D_V]), "like", q)
    if lse is None:
        lse = arrays.empty((b, fields[FIELD_H_Q], fields[FIELD_S_Q]), "float32", q)
    run_into(
        arrays,
        plan,
        (q, kv_cache, block_table, seq_lens, out, lse),
        None if schedule is None else schedule.buffer,
        workspace,
        scale,
    )
    return out, lse


def run_into(
    arrays: ArrayLibrary,
    plan: Planned,
    tensors: Tuple[Array, ...],
    schedule: Optional[Array],
    workspace: Optional[Array],
    scale: Optional[float],
) -> None:
    """Runs on tensors (q, kv_cache, block_table, seq_lens, out, lse), with a schedule and a
    workspace of this call's own where none is given."""
    q, kv_cache, block_table, seq_lens, out, lse = tensors
    call_flags = 0
    fields, schedule_elements, workspace_elements = plan
    if schedule is None:
        schedule = arrays.empty((schedule_elements,), "uint8", q)
        call_flags = MAKE_SCHEDULE
    if workspace is None and workspace_elements:
        workspace = arrays.empty((workspace_elements,), "uint8", q)
    call(
        arrays,
        library.run,
        (q, kv_cache, block_table, seq_lens, out, lse, schedule, workspace),
        fields[FIELD_D_QK] ** -0.5 if scale is None else scale,
        arrays.stream(q),
        call_flags,
        *fields,
    )


OPTION_NAMES = (
    "causal",
    "lse_base",
    "empty_lse",
    "batch_invariant",
    "check_data",
    "num_threads",
    "kernel",
)
_NO_OPTIONS = (None,) * len(OPTION_NAMES)


def check_agreement(problem: Problem, d_v: Optional[int], options: Tuple[Any, ...]) -> None:
    """Refuses options given with a schedule that was made for others. None: not given."""
    if d_v is None and options == _NO_OPTIONS:
        return
    for name, given in zip(("d_v", *OPTION_NAMES), (d_v, *options)):
        agreed = getattr(problem, name)
        if given is not None and given != agreed:
            raise ValueError(
                f"dense_decode: {name} = {given!r}, allowed: {agreed!r}, as in the schedule. "
                "Leave it out, or make another schedule."
            )
