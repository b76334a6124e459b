"""PyTorch operators, for `torch.compile` and `torch.export`, on CPU and CUDA tensors.

`seesaw.dense_decode` records `torch.ops.seesaw.dense_decode_out` by itself while it is being
compiled. Importing this module registers the operators:

    torch.ops.seesaw.dense_decode(...)      -> (out, lse), allocated
    torch.ops.seesaw.dense_decode_out(...)  writes out and lse

A schedule is passed as its buffer and its problem's batch; `kernel` is `kernel_name` here, because
Inductor passes an argument of the former name itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, Optional, Tuple

import torch

from seesaw._arrays import library_of
from seesaw._call import run
from seesaw._decode import D_V, check_agreement
from seesaw._fields import Field
from seesaw._keys import Key, settings_key
from seesaw._tables import DENSE_DECODE, OPTIONS

_RENAMED = {"kernel": "kernel_name"}
_SETTINGS = [field for field in DENSE_DECODE.problem if field.source == "-"]
_SETTINGS += [field for field in OPTIONS if field.type != "device"]


def _parameter(field: Field) -> str:
    """A setting as PyTorch's schemas declare it; choices are texts."""
    name = _RENAMED.get(field.name, field.name)
    if not field.choices and field.type != "text":
        return f"int {name}=0"
    return f"bool {name}=False" if True in field.choices else f"str? {name}=None"


def _from_parameter(field: Field, value: Any) -> Any:
    named = {str(choice): choice for choice in field.choices}
    return named.get(value, value) if isinstance(value, str) else value


def _to_parameter(field: Field, value: Any) -> Any:
    if not field.choices and field.type != "text":
        return value or 0
    if True in field.choices:
        return bool(value)
    return None if value is None else str(value)


_OPTIONS = ", ".join(
    [
        "Tensor? schedule=None, int schedule_batch=0, float? scale=None",
        *map(_parameter, _SETTINGS),
    ]
)
_library = torch.library.Library("seesaw", "DEF")
_library.define(
    "dense_decode(Tensor q, Tensor kv_cache, Tensor block_table, Tensor seq_lens, int d_v=512, "
    f"{_OPTIONS}) -> (Tensor out, Tensor lse)"
)
_library.define(
    "dense_decode_out(Tensor q, Tensor kv_cache, Tensor block_table, Tensor seq_lens, "
    f"Tensor(a!) out, Tensor(b!) lse, {_OPTIONS}) -> ()"
)


@lru_cache(maxsize=64)
def _base_key(schedule_batch: int, *options: Any) -> Key:
    settings = {
        field.name: _from_parameter(field, value) for field, value in zip(_SETTINGS, options)
    }
    return settings_key(DENSE_DECODE, batch=schedule_batch or None, **settings)


def _dense_decode_out(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    schedule: Optional[torch.Tensor] = None,
    schedule_batch: int = 0,
    scale: Optional[float] = None,
    *options: Any,
) -> None:
    scalars = (q.shape[-1] ** -0.5 if scale is None else scale,)
    tensors = (q, kv_cache, block_table, seq_lens, out, lse)
    key = _base_key(schedule_batch, *options)
    run(DENSE_DECODE, library_of(q, "q"), key, tensors, scalars, schedule)


def _allocate(q: torch.Tensor, d_v: int) -> Tuple[torch.Tensor, torch.Tensor]:
    b, s_q, h_q, _ = q.shape
    return q.new_empty(b, s_q, h_q, d_v), q.new_empty(b, h_q, s_q, dtype=torch.float32)


def _dense_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    d_v: int = 512,
    *options: Any,
) -> Tuple[torch.Tensor, torch.Tensor]:
    out, lse = _allocate(q, d_v)
    _dense_decode_out(q, kv_cache, block_table, seq_lens, out, lse, *options)
    return out, lse


def _fake_dense_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    d_v: int = 512,
    *options: Any,
) -> Tuple[torch.Tensor, torch.Tensor]:
    return _allocate(q, d_v)


def _fake_dense_decode_out(*arguments: Any) -> None:
    return None


for _dispatch_key in ("CPU", "CUDA"):
    _library.impl("dense_decode", _dense_decode, _dispatch_key)
    _library.impl("dense_decode_out", _dense_decode_out, _dispatch_key)
torch.library.register_fake("seesaw::dense_decode", _fake_dense_decode, lib=_library)
torch.library.register_fake("seesaw::dense_decode_out", _fake_dense_decode_out, lib=_library)


def record(
    q: torch.Tensor,
    kv_cache: torch.Tensor,
    block_table: torch.Tensor,
    seq_lens: torch.Tensor,
    buffers: Tuple[Any, ...],
    scale: Optional[float],
    d_v: Optional[int],
    settings: Dict[str, Any],
) -> Tuple[torch.Tensor, torch.Tensor]:
    """`seesaw.dense_decode` as an operator of the graph that is being traced."""
    schedule, out, lse, _ = buffers
    buffer, batch = None, 0
    if schedule is not None:
        problem = schedule.problem
        check_agreement(schedule, d_v, settings)
        settings = {
            field.name: getattr(schedule.options if field in OPTIONS else problem, field.name)
            for field in _SETTINGS
        }
        buffer, batch, d_v = schedule.buffer, problem.batch, problem.d_v
    if out is None or lse is None:
        new_out, new_lse = _allocate(q, D_V if d_v is None else d_v)
        out = new_out if out is None else out
        lse = new_lse if lse is None else lse
    options = [_to_parameter(field, settings.get(field.name)) for field in _SETTINGS]
    torch.ops.seesaw.dense_decode_out(
        q, kv_cache, block_table, seq_lens, out, lse, buffer, batch, scale, *options
    )
    return out, lse
