"""The operators: their schemas, and what runs them on CPU and CUDA tensors."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch

from seesaw._append import run_append
from seesaw._arrays import library_of
from seesaw._call import run
from seesaw._decode import refuse_unknown_s_q, shapes_of
from seesaw._fields import Operation
from seesaw._gather import run_gather
from seesaw._keys import Key, settings_key
from seesaw._schedule import prepare
from seesaw._tables import (
    APPEND,
    DENSE_DECODE,
    GATHER,
    MERGE_STATES,
    SPARSE_DECODE,
    SPARSE_PREFILL,
)
from seesaw.torch._schemas import declare, declare_settings, declare_tensors, settings_from

_required = [arg for arg in DENSE_DECODE.args if not arg.optional or arg.name == "lse"]
_tensors = ", ".join(
    f"Tensor{'(' + mark + '!)' if arg.use == 'out' else ''} {arg.name}"
    for arg, mark in zip(_required, "abcdefgh")
)
_inputs = ", ".join(f"Tensor {arg.name}" for arg in _required if arg.use == "in")
_OPTIONS = ", ".join(
    [
        "Tensor? schedule=None, int schedule_batch=0, Tensor? kv_scale=None, Tensor? q_rotary=None",
        "Tensor? tree_mask=None, Tensor? sinks=None, Tensor(m!)? max_logits=None",
        "Tensor? cu_seqlens_q=None, float soft_cap=0, int s_q=0",
        declare_settings(DENSE_DECODE),
    ]
)
_CU_SEQLENS_Q = _OPTIONS.split(", ").index("Tensor? cu_seqlens_q=None")
_library = torch.library.Library("seesaw", "DEF")
_library.define(
    f"dense_decode({_inputs}, float scale, int d_v=512, {_OPTIONS}) -> (Tensor out, Tensor lse)"
)
_library.define(f"dense_decode_out({_tensors}, float scale, {_OPTIONS}) -> ()")
_library.define(
    f"merge_states_out({declare_tensors(MERGE_STATES)}, {declare_settings(MERGE_STATES)}) -> ()"
)
_library.define(f"append({declare_tensors(APPEND)}, {declare_settings(APPEND)}) -> ()")
_library.define(f"gather_out({declare_tensors(GATHER)}, {declare_settings(GATHER)}) -> ()")
_library.define("prepare(Tensor seq_lens, Tensor(a!) schedule, str key) -> ()")

MOST_OF = {SPARSE_DECODE.name: "batch", SPARSE_PREFILL.name: "s_q"}
"""The field of a sparse problem that a call may stay below."""
for _operation in (SPARSE_DECODE, SPARSE_PREFILL):
    _library.define(
        f"{_operation.name}_out({declare_tensors(_operation)}, float scale, Tensor? schedule=None, "
        f"int schedule_most=0, {declare_settings(_operation)}) -> ()"
    )
    _prepared = ", ".join(declare(arg) for arg in _operation.args if arg.prepares)
    _library.define(f"{_operation.name}_prepare({_prepared}, Tensor(a!) schedule, str key) -> ()")


@lru_cache(maxsize=64)
def _decode_key(schedule_batch: int, s_q: int, soft_cap: bool, *options: Any) -> Key:
    told = {"batch": schedule_batch or None, "s_q": s_q or None, "soft_cap": soft_cap}
    return settings_key(DENSE_DECODE, **told, **settings_from(DENSE_DECODE, options))


def _dense_decode_out(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    scale: float,
    schedule: Optional[torch.Tensor] = None,
    schedule_batch: int = 0,
    kv_scale: Optional[torch.Tensor] = None,
    q_rotary: Optional[torch.Tensor] = None,
    tree_mask: Optional[torch.Tensor] = None,
    sinks: Optional[torch.Tensor] = None,
    max_logits: Optional[torch.Tensor] = None,
    cu_seqlens_q: Optional[torch.Tensor] = None,
    soft_cap: float = 0.0,
    s_q: int = 0,
    *options: Any,
) -> None:
    inputs = (q, kv_cache, block_table, seq_lens)
    besides = (q_rotary, tree_mask, sinks, max_logits, cu_seqlens_q)
    tensors = (*inputs, out, lse, kv_scale, *besides)
    if cu_seqlens_q is not None and s_q == 0:
        refuse_unknown_s_q()
    key = _decode_key(schedule_batch, s_q, soft_cap != 0, *options)
    written = (out, lse) if max_logits is None else (out, lse, max_logits)
    run(
        DENSE_DECODE,
        library_of(q, "q"),
        key,
        tensors,
        (scale, soft_cap),
        schedule,
        given_outputs=written,
    )


def allocate(q: torch.Tensor, d_v: int, ragged: bool) -> Tuple[torch.Tensor, torch.Tensor]:
    """(out, lse)"""
    rows, numbers = shapes_of(q, ragged)
    return q.new_empty(*rows, d_v), q.new_empty(*numbers, dtype=torch.float32)


def _is_ragged(options: Sequence[Any]) -> bool:
    """Whether the operator's arguments from `schedule` on have a cu_seqlens_q."""
    return len(options) > _CU_SEQLENS_Q and options[_CU_SEQLENS_Q] is not None


def _dense_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    scale: float,
    d_v: int = 512,
    *options: Any,
) -> Tuple[torch.Tensor, torch.Tensor]:
    out, lse = allocate(q, d_v, _is_ragged(options))
    _dense_decode_out(q, kv_cache, block_table, seq_lens, out, lse, scale, *options)
    return out, lse


def _fake_dense_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    scale: float,
    d_v: int = 512,
    *options: Any,
) -> Tuple[torch.Tensor, torch.Tensor]:
    return allocate(q, d_v, _is_ragged(options))


def _merge_states_out(
    outs: Sequence[torch.Tensor],
    lses: Sequence[torch.Tensor],
    out: torch.Tensor,
    lse: torch.Tensor,
    *options: Any,
) -> None:
    key = settings_key(MERGE_STATES, num_parts=len(outs), **settings_from(MERGE_STATES, options))
    tensors = (list(outs), list(lses), out, lse)
    written = (out,) if lse is None else (out, lse)
    run(MERGE_STATES, library_of(out, "out"), key, tensors, given_outputs=written)


def _split(operation: Operation, arguments: Sequence[Any]) -> Tuple[Any, Dict[str, Any]]:
    """(tensors, settings) of an operator's arguments, which may lack the last ones."""
    count = len(operation.args)
    return arguments[:count], settings_from(operation, arguments[count:])


def _append(*arguments: Any) -> None:
    tensors, settings = _split(APPEND, arguments)
    run_append(library_of(tensors[0], APPEND.args[0].name, "append"), tensors, settings)


def _gather_out(*arguments: Any) -> None:
    tensors, settings = _split(GATHER, arguments)
    written = tuple(tensor for arg, tensor in zip(GATHER.args, tensors) if arg.use != "in")
    run_gather(library_of(tensors[0], GATHER.args[0].name, "gather"), tensors, settings, written)


def _prepare(seq_lens: torch.Tensor, schedule: torch.Tensor, key: str) -> None:
    prepare(library_of(seq_lens, "seq_lens"), bytes.fromhex(key), schedule, (seq_lens,))


def _sparse_out(operation: Operation, *arguments: Any) -> None:
    count = len(operation.args)
    tensors, scale = arguments[:count], arguments[count]
    schedule, most, *options = arguments[count + 1 :] or (None, 0)
    key = _sparse_key(operation.name, most, *options)
    written = [t for arg, t in zip(operation.args, tensors) if arg.use != "in" and t is not None]
    arrays = library_of(tensors[0], "q", operation.name)
    run(operation, arrays, key, tensors, (scale,), schedule, given_outputs=written)


@lru_cache(maxsize=64)
def _sparse_key(name: str, most: int, *options: Any) -> Key:
    operation = SPARSE_DECODE if name == SPARSE_DECODE.name else SPARSE_PREFILL
    told = {MOST_OF[name]: most or None}
    return settings_key(operation, **told, **settings_from(operation, options))


def _sparse_prepare(operation: Operation, *arguments: Any) -> None:
    *tensors, schedule, key = arguments
    arrays = library_of(tensors[0], "indices", operation.name)
    prepare(arrays, bytes.fromhex(key), schedule, tensors, operation)


def _fake_nothing(*arguments: Any) -> None:
    return None


_KERNELS: Dict[str, Tuple[Callable[..., Any], Callable[..., Any]]] = {
    "dense_decode": (_dense_decode, _fake_dense_decode),
    "dense_decode_out": (_dense_decode_out, _fake_nothing),
    "merge_states_out": (_merge_states_out, _fake_nothing),
    "append": (_append, _fake_nothing),
    "gather_out": (_gather_out, _fake_nothing),
    "prepare": (_prepare, _fake_nothing),
}
for _operation in (SPARSE_DECODE, SPARSE_PREFILL):
    _KERNELS[f"{_operation.name}_out"] = (partial(_sparse_out, _operation), _fake_nothing)
    _KERNELS[f"{_operation.name}_prepare"] = (partial(_sparse_prepare, _operation), _fake_nothing)
for _name, (_kernel, _fake) in _KERNELS.items():
    for _dispatch_key in ("CPU", "CUDA"):
        _library.impl(_name, _kernel, _dispatch_key)
    torch.library.register_fake(f"seesaw::{_name}", _fake, lib=_library)
