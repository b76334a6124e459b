"""Calls as operators of the graph that is being traced."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import torch

from seesaw._decode import D_V, NOTHING, Besides
from seesaw._fields import Operation
from seesaw._schedule import Schedule, check_agreement
from seesaw._sparse import Asked, in_order, sparse_shapes
from seesaw._tables import APPEND, DENSE_DECODE, GATHER, MERGE_STATES, OPTIONS
from seesaw.torch._operators import MOST_OF, allocate
from seesaw.torch._schemas import SETTINGS, parameters_from


def record(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    buffers: Tuple[Any, ...],
    scale: float,
    d_v: Optional[int],
    settings: Dict[str, Any],
    kv_scale: Optional[torch.Tensor] = None,
    besides: Besides = NOTHING,
    wants_max_logits: bool = False,
) -> Tuple[torch.Tensor, ...]:
    """`seesaw.dense_decode` as an operator of the graph that is being traced."""
    schedule, out, lse, _ = buffers
    s_q, soft_cap, max_logits = besides.s_q, besides.soft_cap, besides.max_logits
    buffer, batch = None, 0
    if schedule is not None:
        problem = schedule.problem
        check_agreement(schedule, d_v, settings, s_q)
        settings = _settings_in(schedule)
        buffer, batch, d_v, s_q = schedule.buffer, problem.batch, problem.d_v, problem.s_q
    ragged = besides.cu_seqlens_q is not None
    if out is None or lse is None:
        new_out, new_lse = allocate(q, D_V if d_v is None else d_v, ragged)
        out = new_out if out is None else out
        lse = new_lse if lse is None else lse
    if max_logits is None and wants_max_logits:
        max_logits = lse.new_empty(lse.shape)
    torch.ops.seesaw.dense_decode_out(
        q,
        kv_cache,
        block_table,
        seq_lens,
        out,
        lse,
        scale,
        buffer,
        batch,
        kv_scale,
        besides.q_rotary,
        besides.tree_mask,
        besides.sinks,
        max_logits,
        besides.cu_seqlens_q,
        0.0 if soft_cap is None else soft_cap,
        s_q or 0,
        *parameters_from(DENSE_DECODE, settings),
    )
    return (out, lse) if max_logits is None else (out, lse, max_logits)


def _settings_in(schedule: Schedule) -> Dict[str, Any]:
    problem, options = schedule.problem, schedule.options
    fields = SETTINGS[schedule.operation.name]
    return {f.name: getattr(options if f in OPTIONS else problem, f.name) for f in fields}


def record_prepare(schedule: Schedule, tensors: Sequence[torch.Tensor]) -> None:
    """`Schedule.update` as an operator."""
    operation = schedule.operation.name
    name = "prepare" if operation == DENSE_DECODE.name else f"{operation}_prepare"
    getattr(torch.ops.seesaw, name)(*tensors, schedule.buffer, schedule.key_text)


def record_sparse(
    operation: Operation,
    named: Dict[str, Any],
    wants: Sequence[str],
    d_v: int,
    asked: Asked,
    settings: Mapping[str, Any],
) -> Tuple[torch.Tensor, ...]:
    """`seesaw.sparse_decode` and `sparse_prefill` as operators. wants: the outputs to return."""
    schedule, buffer, most = asked.schedule, None, 0
    if schedule is not None:
        settings = _settings_in(schedule)
        buffer, most = schedule.buffer, getattr(schedule.problem, MOST_OF[operation.name])
    q = named["q"]
    out_shape, numbers = sparse_shapes(operation, q, d_v)
    if named["out"] is None:
        named["out"] = q.new_empty(*out_shape)
    for name in wants[1:]:
        if named[name] is None:
            named[name] = q.new_empty(*numbers, dtype=torch.float32)
    parameters = parameters_from(operation, settings)
    operator = getattr(torch.ops.seesaw, f"{operation.name}_out")
    operator(*in_order(operation, named), asked.scale, buffer, most, *parameters)
    return tuple(named[name] for name in wants)


def record_merge(tensors: Sequence[Any], settings: Dict[str, Any]) -> None:
    """`seesaw.merge_states` as an operator: tensors as the library has them."""
    torch.ops.seesaw.merge_states_out(*tensors, *parameters_from(MERGE_STATES, settings))


def record_append(tensors: Sequence[Any], settings: Dict[str, Any]) -> None:
    """`seesaw.append` as an operator: tensors in the order of its table."""
    torch.ops.seesaw.append(*tensors, *parameters_from(APPEND, settings))


def record_gather(tensors: Sequence[Any], settings: Dict[str, Any], out: None) -> None:
    """`seesaw.gather` as an operator: tensors in the order of its table, out among them."""
    torch.ops.seesaw.gather_out(*tensors, *parameters_from(GATHER, settings))
