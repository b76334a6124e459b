"""The C ABI called without the package: what a call costs before Python adds to it.

Mirrors the structs of include/seesaw/seesaw.h with ctypes; for measurements and tests only.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Callable

import seesaw


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * 4),
        ("stride", ctypes.c_int64 * 4),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("device", _Device),
    ]


class _Problem(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("device", _Device),
        ("q_dtype", ctypes.c_int32),
        ("kv_dtype", ctypes.c_int32),
        *[(f"size_{i}", ctypes.c_int64) for i in range(11)],
        ("flags", ctypes.c_uint32),
        ("num_threads", ctypes.c_int32),
        ("kernel", ctypes.c_char_p),
    ]


class _Args(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        *[(name, _Tensor) for name in ("q", "kv_cache", "block_table", "seq_lens", "out", "lse")],
        ("scale", ctypes.c_float),
        ("reserved", ctypes.c_uint32),
        ("schedule", ctypes.c_void_p),
        ("schedule_bytes", ctypes.c_uint64),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("stream", ctypes.c_void_p),
    ]


def _address(array: Any) -> int:
    return array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data


def _tensor(array: Any, dtype: int, device: _Device) -> _Tensor:
    tensor = _Tensor(data=_address(array), rank=array.ndim, dtype=dtype, device=device)
    stride = 1
    for i in reversed(range(array.ndim)):
        tensor.shape[i] = array.shape[i]
        tensor.stride[i] = stride
        stride *= array.shape[i]
    return tensor


def _aligned(buffer: Any) -> int:
    return (_address(buffer) + 255) // 256 * 256


def load() -> ctypes.CDLL:
    """The package's libseesaw, through ctypes."""
    (path,) = Path(seesaw.__file__).parent.glob("libseesaw.so.*")
    return ctypes.CDLL(str(path))


def bind(
    schedule: seesaw.Schedule, arrays: tuple, workspace: Any, stream: int
) -> Callable[[], int]:
    """seesaw_dense_decode_run with every argument bound. `arrays`: contiguous
    (q, kv_cache, block_table, seq_lens, out, lse); returns the status of a call."""
    library = load()
    device_type, index, q_dtype, kv_dtype, *sizes, flags, threads, _ = schedule.fields
    device = _Device(device_type, index)
    problem = _Problem(
        struct_size=ctypes.sizeof(_Problem),
        device=device,
        q_dtype=q_dtype,
        kv_dtype=kv_dtype,
        flags=flags,
        num_threads=threads,
        **{f"size_{i}": size for i, size in enumerate(sizes)},
    )
    plan = ctypes.c_void_p()
    if library.seesaw_dense_decode_plan_create(ctypes.byref(problem), ctypes.byref(plan)) != 0:
        library.seesaw_last_error.restype = ctypes.c_char_p
        raise RuntimeError(library.seesaw_last_error().decode())
    dtypes = (q_dtype, kv_dtype, 4, 4, q_dtype, 1)
    tensors = [_tensor(array, dtype, device) for array, dtype in zip(arrays, dtypes)]
    args = _Args(
        ctypes.sizeof(_Args),
        *tensors,
        scale=192**-0.5,
        schedule=_aligned(schedule.buffer),
        schedule_bytes=len(schedule.buffer) - 255,
        workspace=None if workspace is None else _aligned(workspace),
        workspace_bytes=0 if workspace is None else len(workspace) - 255,
        stream=stream,
    )
    run = library.seesaw_dense_decode_run
    run.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    pointer = ctypes.addressof(args)
    handle = plan.value

    def call(_keep_alive: Any = (args, arrays, workspace, schedule)) -> int:
        return run(handle, pointer)

    return call
