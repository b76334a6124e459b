"""The C ABI called without the package: what a call costs before Python adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import c_abi
import seesaw


def _address(array: Any) -> int:
    return array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data


def _aligned(buffer: Any) -> int:
    return (_address(buffer) + c_abi.ALIGNMENT - 1) // c_abi.ALIGNMENT * c_abi.ALIGNMENT


def load() -> Any:
    """The package's libseesaw."""
    (path,) = Path(seesaw.__file__).parent.glob("libseesaw.so.*")
    return c_abi.load(path)


def bind(
    schedule: seesaw.Schedule, arrays: tuple, workspace: Any, stream: int
) -> Callable[[], int]:
    """seesaw_plan_run with every argument bound. `arrays`: contiguous
    (q, kv_cache, block_table, seq_lens, out, lse); returns the status of a call."""
    kind, _, index = schedule.options.device.partition(":")
    device = (c_abi.CPU, 0) if kind == "cpu" else (c_abi.CUDA, int(index or 0))
    problem = schedule.problem
    names = [field.name for field in problem.operation.problem]
    numbers = dict(zip(names, problem.to_numbers()))
    plan = load().plan(device, schedule.options.num_threads, **numbers)
    q_dtype, kv_format = numbers["q_dtype"], numbers["kv_format"]
    dtypes = (q_dtype, kv_format, c_abi.INT32, c_abi.INT32, q_dtype, c_abi.FLOAT32)
    views = {
        name: c_abi.View(_address(array), array.shape, dtype, device)
        for name, array, dtype in zip(c_abi.TENSORS, arrays, dtypes)
    }
    call = plan.bind(
        views,
        192**-0.5,
        _aligned(schedule.buffer),
        0 if workspace is None else _aligned(workspace),
        stream,
    )
    call.kept += [plan, arrays, workspace, schedule]
    return call.run
