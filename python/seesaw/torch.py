"""PyTorch operators, for `torch.compile` and `torch.export`, on CPU and CUDA tensors.

`seesaw.dense_decode` records `torch.ops.seesaw.dense_decode_out` by itself while it is being
compiled. Importing this module registers the operators:

    torch.ops.seesaw.dense_decode(...)      -> (out, lse), allocated
    torch.ops.seesaw.dense_decode_out(...)  writes out and lse

A schedule is passed as its buffer and its problem's batch; `kernel` is `kernel_name` here, because
Inductor passes an argument of the former name itself.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch

from seesaw._arrays import library_of
from seesaw._decode import OPTION_NAMES, check_agreement, run_into
from seesaw._problem import fields_of, make_options
from seesaw._schedule import planned

_OPTIONS = (
    "Tensor? schedule=None, int schedule_batch=0, float? scale=None, bool causal=False, "
    'bool lse_base2=False, str empty_lse="-inf", bool batch_invariant=False, '
    "bool check_data=False, int num_threads=0, str? kernel_name=None"
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
    causal: bool = False,
    lse_base2: bool = False,
    *options: Any,
) -> None:
    fields = fields_of(
        q,
        kv_cache,
        block_table,
        out.shape[-1],
        make_options(causal, 2 if lse_base2 else "e", *options),
        batch=schedule_batch or None,
    )
    tensors = (q, kv_cache, block_table, seq_lens, out, lse)
    run_into(library_of(q, "q"), planned(fields), tensors, schedule, None, scale)


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
    options: Tuple[Any, ...],
) -> Tuple[torch.Tensor, torch.Tensor]:
    """`seesaw.dense_decode` as an operator of the graph that is being traced."""
    schedule, out, lse, _ = buffers
    buffer, batch = None, 0
    if schedule is not None:
        problem = schedule.problem
        check_agreement(problem, d_v, options)
        options = tuple([getattr(problem, name) for name in OPTION_NAMES])
        buffer, batch, d_v = schedule.buffer, problem.batch, problem.d_v
    causal, lse_base, empty_lse, batch_invariant, check_data, num_threads, kernel = options
    if out is None or lse is None:
        new_out, new_lse = _allocate(q, 512 if d_v is None else d_v)
        out = new_out if out is None else out
        lse = new_lse if lse is None else lse
    torch.ops.seesaw.dense_decode_out(
        q,
        kv_cache,
        block_table,
        seq_lens,
        out,
        lse,
        buffer,
        batch,
        scale,
        bool(causal),
        lse_base == 2,
        empty_lse or "-inf",
        bool(batch_invariant),
        bool(check_data),
        num_threads or 0,
        kernel,
    )
    return out, lse
