"""The C ABI called without the package: what a call costs before Python adds to it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Callable

import c_abi
import seesaw


def _address(array: Any) -> int:
    return array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data


def _aligned(buffer: Any) -> int:
    return (_address(buffer) + c_abi.ALIGNMENT - 1) // c_abi.ALIGNMENT * c_abi.ALIGNMENT


def _aligned_bytes(buffer: Any) -> int:
    return len(buffer) - (c_abi.ALIGNMENT - 1)


def load() -> ctypes.CDLL:
    """The package's libseesaw."""
    (path,) = Path(seesaw.__file__).parent.glob("libseesaw.so.*")
    return c_abi.load(path)


def bind(
    schedule: seesaw.Schedule, arrays: tuple, workspace: Any, stream: int
) -> Callable[[], int]:
    """seesaw_dense_decode_run with every argument bound. `arrays`: contiguous
    (q, kv_cache, block_table, seq_lens, out, lse); returns the status of a call."""
    library = load()
    device_type, index, q_dtype, kv_dtype, *sizes, flags, threads, _ = schedule.fields
    device = c_abi.Device(device_type, index)
    problem = c_abi.sized(
        c_abi.Problem,
        device=device,
        q_dtype=q_dtype,
        kv_dtype=kv_dtype,
        flags=flags,
        num_threads=threads,
        **dict(zip(c_abi.PROBLEM_SIZES, sizes)),
    )
    plan = c_abi.make_plan(library, problem)
    dtypes = (q_dtype, kv_dtype, c_abi.INT32, c_abi.INT32, q_dtype, c_abi.FLOAT32)
    names = ("q", "kv_cache", "block_table", "seq_lens", "out", "lse")
    tensors = {
        name: c_abi.make_tensor(_address(array), array.shape, dtype, device)
        for name, array, dtype in zip(names, arrays, dtypes)
    }
    args = c_abi.sized(
        c_abi.Arguments,
        **tensors,
        scale=192**-0.5,
        schedule=_aligned(schedule.buffer),
        schedule_bytes=_aligned_bytes(schedule.buffer),
        workspace=None if workspace is None else _aligned(workspace),
        workspace_bytes=0 if workspace is None else _aligned_bytes(workspace),
        stream=stream,
    )
    run = library.seesaw_dense_decode_run
    run.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    pointer = ctypes.addressof(args)
    handle = plan.value

    def call(_keep_alive: Any = (args, arrays, workspace, schedule)) -> int:
        return run(handle, pointer)

    return call
