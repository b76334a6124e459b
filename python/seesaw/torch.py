"""PyTorch operators, for `torch.compile`, `torch.export` and other tracers; CPU and CUDA tensors.

`seesaw.dense_decode`, `seesaw.sparse_decode`, `seesaw.sparse_prefill`, `seesaw.merge_states`,
`seesaw.append`, `seesaw.gather` and `Schedule.update` record them by themselves while they are
being traced. Importing this module registers the operators:

    torch.ops.seesaw.dense_decode(...)            -> (out, lse), allocated
    torch.ops.seesaw.dense_decode_out(...)        writes out and lse
    torch.ops.seesaw.sparse_decode_out(...)       writes out, and lse and max_logits where given
    torch.ops.seesaw.sparse_prefill_out(...)      the same
    torch.ops.seesaw.merge_states_out(...)        the same, of lists outs and lses, LSEs [b, s, h]
    torch.ops.seesaw.append(...)                  writes to a cache, q_rope and saturated
    torch.ops.seesaw.gather_out(...)              writes out
    torch.ops.seesaw.prepare(...)                 fills the buffer of a dense schedule
    torch.ops.seesaw.sparse_decode_prepare(...)   of a sparse one
    torch.ops.seesaw.sparse_prefill_prepare(...)

A schedule is passed as its buffer and the most sequences that its problem allows (query tokens in
sparse prefill); `kernel` is `kernel_name` here, because
Inductor passes an argument of the former name itself, and a setting with the name of a tensor has
`_rule` behind it.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from seesaw._append import run_append
from seesaw._arrays import library_of
from seesaw._call import run
from seesaw._decode import D_V, NOTHING, Besides, check_agreement, refuse_unknown_s_q, shapes_of
from seesaw._fields import Arg, Field, Operation, dtype_name
from seesaw._gather import run_gather
from seesaw._keys import Key, settings_key
from seesaw._schedule import Schedule, prepare
from seesaw._sparse import Asked, in_order, sparse_shapes
from seesaw._tables import (
    APPEND,
    DENSE_DECODE,
    GATHER,
    MERGE_STATES,
    OPTIONS,
    SPARSE_DECODE,
    SPARSE_PREFILL,
)

_RENAMED = {"kernel": "kernel_name"}


def _settings_of(operation: Operation) -> List[Field]:
    """What a call's tensors do not tell, a format among it, and lists not by their length."""
    counts = [arg.list for arg in operation.args]
    fields = [
        field
        for field in operation.problem
        if (field.source == "-" or field.type == "format") and field.name not in counts
    ]
    return fields + [field for field in OPTIONS if field.type != "device"]


def _parameter(field: Field, tensors: Sequence[str] = ()) -> str:
    """A setting as PyTorch's schemas declare it; choices are texts."""
    name = _RENAMED.get(field.name, field.name)
    name = f"{name}_rule" if name in tensors else name
    if not field.choices and field.type != "text":
        return f"int {name}=0"
    return f"bool {name}=False" if True in field.choices else f"str? {name}=None"


def _from_parameter(field: Field, value: Any) -> Any:
    if not field.choices and field.type != "text":
        return value or None  # 0: not given
    named = {str(choice): choice for choice in field.choices}
    return named.get(value, value) if isinstance(value, str) else value


def _to_parameter(field: Field, value: Any) -> Any:
    if not field.choices and field.type != "text":
        return value or 0
    if True in field.choices:
        return bool(value)
    if value is None:
        return None
    return dtype_name(value) if field.type == "format" else str(value)


def _tensor(arg: Arg, mark: str) -> str:
    changed = f"({mark}!)" if arg.use != "in" else ""
    return f"Tensor{changed}{'[]' if arg.list else '?' if arg.optional else ''} {arg.name}"


def _tensors_of(operation: Operation) -> str:
    return ", ".join(map(_tensor, operation.args, "abcdefghijklmnop"))


def _parameters_of(operation: Operation) -> str:
    names = [arg.name for arg in operation.args]
    return ", ".join(_parameter(field, names) for field in _settings_of(operation))


_DECODE, _MERGE = _settings_of(DENSE_DECODE), _settings_of(MERGE_STATES)
_APPEND, _GATHER = _settings_of(APPEND), _settings_of(GATHER)
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
        _parameters_of(DENSE_DECODE),
    ]
)
_CU_SEQLENS_Q = _OPTIONS.split(", ").index("Tensor? cu_seqlens_q=None")
_library = torch.library.Library("seesaw", "DEF")
_library.define(
    f"dense_decode({_inputs}, float scale, int d_v=512, {_OPTIONS}) -> (Tensor out, Tensor lse)"
)
_library.define(f"dense_decode_out({_tensors}, float scale, {_OPTIONS}) -> ()")
_library.define(
    f"merge_states_out({_tensors_of(MERGE_STATES)}, {_parameters_of(MERGE_STATES)}) -> ()"
)
_library.define(f"append({_tensors_of(APPEND)}, {_parameters_of(APPEND)}) -> ()")
_library.define(f"gather_out({_tensors_of(GATHER)}, {_parameters_of(GATHER)}) -> ()")
_library.define("prepare(Tensor seq_lens, Tensor(a!) schedule, str key) -> ()")

_MOST_OF = {SPARSE_DECODE.name: "batch", SPARSE_PREFILL.name: "s_q"}
"""The field of a sparse problem that a call may stay below."""
_SPARSE = {operation.name: _settings_of(operation) for operation in (SPARSE_DECODE, SPARSE_PREFILL)}
for _operation in (SPARSE_DECODE, SPARSE_PREFILL):
    _library.define(
        f"{_operation.name}_out({_tensors_of(_operation)}, float scale, Tensor? schedule=None, "
        f"int schedule_most=0, {_parameters_of(_operation)}) -> ()"
    )
    _prepared = ", ".join(_tensor(arg, "") for arg in _operation.args if arg.prepares)
    _library.define(f"{_operation.name}_prepare({_prepared}, Tensor(a!) schedule, str key) -> ()")


@lru_cache(maxsize=64)
def _decode_key(schedule_batch: int, s_q: int, soft_cap: bool, *options: Any) -> Key:
    settings = {field.name: _from_parameter(field, value) for field, value in zip(_DECODE, options)}
    told = {"batch": schedule_batch or None, "s_q": s_q or None, "soft_cap": soft_cap}
    return settings_key(DENSE_DECODE, **told, **settings)


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


def _allocate(q: torch.Tensor, d_v: int, ragged: bool) -> Tuple[torch.Tensor, torch.Tensor]:
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
    out, lse = _allocate(q, d_v, _is_ragged(options))
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
    return _allocate(q, d_v, _is_ragged(options))


def _merge_states_out(
    outs: Sequence[torch.Tensor],
    lses: Sequence[torch.Tensor],
    out: torch.Tensor,
    lse: torch.Tensor,
    *options: Any,
) -> None:
    settings = {field.name: _from_parameter(field, value) for field, value in zip(_MERGE, options)}
    key = settings_key(MERGE_STATES, num_parts=len(outs), **settings)
    tensors = (list(outs), list(lses), out, lse)
    written = (out,) if lse is None else (out, lse)
    run(MERGE_STATES, library_of(out, "out"), key, tensors, given_outputs=written)


def _split(fields: List[Field], operation: Operation, arguments: Sequence[Any]) -> Any:
    """(tensors, settings) of an operator's arguments, which may lack the last ones."""
    tensors, options = arguments[: len(operation.args)], arguments[len(operation.args) :]
    settings = {field.name: _from_parameter(field, value) for field, value in zip(fields, options)}
    return tensors, settings


def _append(*arguments: Any) -> None:
    tensors, settings = _split(_APPEND, APPEND, arguments)
    run_append(library_of(tensors[0], APPEND.args[0].name, "append"), tensors, settings)


def _gather_out(*arguments: Any) -> None:
    tensors, settings = _split(_GATHER, GATHER, arguments)
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
    fields = zip(_SPARSE[name], options)
    settings = {field.name: _from_parameter(field, value) for field, value in fields}
    return settings_key(operation, **{_MOST_OF[name]: most or None}, **settings)


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
        settings = {
            field.name: getattr(schedule.options if field in OPTIONS else problem, field.name)
            for field in _DECODE
        }
        buffer, batch, d_v, s_q = schedule.buffer, problem.batch, problem.d_v, problem.s_q
    ragged = besides.cu_seqlens_q is not None
    if out is None or lse is None:
        new_out, new_lse = _allocate(q, D_V if d_v is None else d_v, ragged)
        out = new_out if out is None else out
        lse = new_lse if lse is None else lse
    if max_logits is None and wants_max_logits:
        max_logits = lse.new_empty(lse.shape)
    options = [_to_parameter(field, settings.get(field.name)) for field in _DECODE]
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
        *options,
    )
    return (out, lse) if max_logits is None else (out, lse, max_logits)


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
    fields, schedule, buffer, most = _SPARSE[operation.name], asked.schedule, None, 0
    if schedule is not None:
        problem, options = schedule.problem, schedule.options
        settings = {f.name: getattr(options if f in OPTIONS else problem, f.name) for f in fields}
        buffer, most = schedule.buffer, getattr(problem, _MOST_OF[operation.name])
    q = named["q"]
    out_shape, numbers = sparse_shapes(operation, q, d_v)
    if named["out"] is None:
        named["out"] = q.new_empty(*out_shape)
    for name in wants[1:]:
        if named[name] is None:
            named[name] = q.new_empty(*numbers, dtype=torch.float32)
    parameters = [_to_parameter(field, settings.get(field.name)) for field in fields]
    operator = getattr(torch.ops.seesaw, f"{operation.name}_out")
    operator(*in_order(operation, named), asked.scale, buffer, most, *parameters)
    return tuple(named[name] for name in wants)


def record_merge(tensors: Sequence[Any], settings: Dict[str, Any]) -> None:
    """`seesaw.merge_states` as an operator: tensors as the library has them."""
    options = [_to_parameter(field, settings.get(field.name)) for field in _MERGE]
    torch.ops.seesaw.merge_states_out(*tensors, *options)


def record_append(tensors: Sequence[Any], settings: Dict[str, Any]) -> None:
    """`seesaw.append` as an operator: tensors in the order of its table."""
    options = [_to_parameter(field, settings.get(field.name)) for field in _APPEND]
    torch.ops.seesaw.append(*tensors, *options)


def record_gather(tensors: Sequence[Any], settings: Dict[str, Any], out: None) -> None:
    """`seesaw.gather` as an operator: tensors in the order of its table, out among them."""
    options = [_to_parameter(field, settings.get(field.name)) for field in _GATHER]
    torch.ops.seesaw.gather_out(*tensors, *options)
