"""The structs of include/seesaw/seesaw.h for ctypes, for measurements and tests of the C ABI.

Imports neither the Python package nor an array library: what it needs of an array is its shape, its
strides in elements and its address.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Optional, Sequence

FLOAT32, BFLOAT16, FLOAT16, INT32 = 1, 2, 3, 4
"""seesaw_dtype."""
CPU, CUDA = 1, 2
"""seesaw_device_type."""
ALIGNMENT = 256
"""Of schedules and workspaces, bytes."""
_MAX_RANK = 4


class Device(ctypes.Structure):
    """seesaw_device."""

    _fields_ = [("type", ctypes.c_int32), ("index", ctypes.c_int32)]


class Tensor(ctypes.Structure):
    """seesaw_tensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * _MAX_RANK),
        ("stride", ctypes.c_int64 * _MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("device", Device),
    ]


PROBLEM_SIZES = (
    "batch", "s_q", "h_q", "h_kv", "d_qk", "d_v", "page_size", "max_pages_per_sequence",
    "kv_page_stride", "kv_token_stride", "kv_head_stride",
)  # fmt: skip


class Problem(ctypes.Structure):
    """seesaw_dense_decode_problem."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("device", Device),
        ("q_dtype", ctypes.c_int32),
        ("kv_dtype", ctypes.c_int32),
        *[(name, ctypes.c_int64) for name in PROBLEM_SIZES],
        ("flags", ctypes.c_uint32),
        ("num_threads", ctypes.c_int32),
        ("kernel", ctypes.c_char_p),
    ]


class PlanInfo(ctypes.Structure):
    """seesaw_dense_decode_plan_info."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("kernel", ctypes.c_char_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("schedule_bytes", ctypes.c_uint64),
        ("num_workers", ctypes.c_int32),
        ("tile_tokens", ctypes.c_int32),
        ("tile_rows", ctypes.c_int32),
        ("fixed_split_tiles", ctypes.c_int32),
    ]


class Arguments(ctypes.Structure):
    """seesaw_dense_decode_args."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        *[(name, Tensor) for name in ("q", "kv_cache", "block_table", "seq_lens", "out", "lse")],
        ("scale", ctypes.c_float),
        ("reserved", ctypes.c_uint32),
        ("schedule", ctypes.c_void_p),
        ("schedule_bytes", ctypes.c_uint64),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("stream", ctypes.c_void_p),
    ]


def sized(struct: type, **fields: object) -> ctypes.Structure:
    """A struct whose first member is its size."""
    return struct(struct_size=ctypes.sizeof(struct), **fields)


def make_tensor(
    address: int,
    shape: Sequence[int],
    dtype: int,
    device: Device,
    strides: Optional[Sequence[int]] = None,
) -> Tensor:
    """`strides` in elements; None: packed."""
    if strides is None:
        strides = [1] * len(shape)
        for i in reversed(range(len(shape) - 1)):
            strides[i] = strides[i + 1] * shape[i + 1]
    longs = ctypes.c_int64 * _MAX_RANK
    return Tensor(address, longs(*shape), longs(*strides), len(shape), dtype, device)


def load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.seesaw_last_error.restype = ctypes.c_char_p
    return library


def check(library: ctypes.CDLL, status: int) -> None:
    """Raises the library's own message if a call failed."""
    if status != 0:
        raise RuntimeError(library.seesaw_last_error().decode())


def make_plan(library: ctypes.CDLL, problem: Problem) -> ctypes.c_void_p:
    """The caller's to destroy."""
    plan = ctypes.c_void_p()
    create = library.seesaw_dense_decode_plan_create
    check(library, create(ctypes.byref(problem), ctypes.byref(plan)))
    return plan
