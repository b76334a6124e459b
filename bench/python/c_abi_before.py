"""The C ABI before operations had tables (seesaw_dense_decode_plan_create), behind the methods of
c_abi.py: so that a library built then can be measured beside one of now. Remove it once no such
library is compared with any more.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Dict, Tuple

from c_abi import MAX_RANK, TENSORS, BoundCall, Device, View, make_tensor, sized

SIZES = (
    "batch", "s_q", "h_q", "h_kv", "d_qk", "d_v", "page_size", "max_pages_per_sequence",
    "kv_page_stride", "kv_token_stride", "kv_head_stride",
)  # fmt: skip
DEFAULTS = {"s_q": 1, "h_kv": 1, "d_qk": 576, "d_v": 512, "page_size": 64}
CAUSAL, LSE_BASE2, LSE_EMPTY_IS_POSITIVE_INFINITY = 1, 2, 4


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * MAX_RANK),
        ("stride", ctypes.c_int64 * MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("device", Device),
    ]


class Problem(ctypes.Structure):
    """seesaw_dense_decode_problem, up to `kernel`."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("device", Device),
        ("q_dtype", ctypes.c_int32),
        ("kv_dtype", ctypes.c_int32),
        *[(name, ctypes.c_int64) for name in SIZES],
        ("flags", ctypes.c_uint32),
        ("num_threads", ctypes.c_int32),
        ("kernel", ctypes.c_char_p),
    ]


class PlanInfo(ctypes.Structure):
    """The beginning of seesaw_dense_decode_plan_info."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("kernel", ctypes.c_char_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("schedule_bytes", ctypes.c_uint64),
    ]


class Arguments(ctypes.Structure):
    """seesaw_dense_decode_args."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        *[(name, Tensor) for name in TENSORS],
        ("scale", ctypes.c_float),
        ("reserved", ctypes.c_uint32),
        ("schedule", ctypes.c_void_p),
        ("schedule_bytes", ctypes.c_uint64),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("stream", ctypes.c_void_p),
    ]


class LibraryBefore:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.seesaw_last_error.restype = ctypes.c_char_p
        library.seesaw_dense_decode_run.argtypes = [ctypes.c_void_p] * 2
        schedule = library.seesaw_dense_decode_schedule
        schedule.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_uint64, ctypes.c_void_p]

    def check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(self._library.seesaw_last_error().decode())

    def empty_call(self) -> Callable[[], Any]:
        return self._library.seesaw_version

    def plan(self, device: Tuple[int, int], num_threads: int = 0, **problem: int) -> PlanBefore:
        flags = CAUSAL if problem.pop("causal", 0) else 0
        flags |= LSE_BASE2 if problem.pop("lse_base", 0) else 0
        flags |= LSE_EMPTY_IS_POSITIVE_INFINITY if problem.pop("empty_lse", 0) else 0
        kv_dtype = problem.pop("kv_format", 0) or problem["q_dtype"]
        asked = sized(
            Problem,
            device=Device(*device),
            kv_dtype=kv_dtype,
            flags=flags,
            num_threads=num_threads,
            **{**DEFAULTS, **problem},
        )
        handle = ctypes.c_void_p()
        create = self._library.seesaw_dense_decode_plan_create
        self.check(create(ctypes.byref(asked), ctypes.byref(handle)))
        return PlanBefore(self, handle)


class PlanBefore:
    def __init__(self, library: LibraryBefore, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle
        info = sized(PlanInfo)
        get_info = library._library.seesaw_dense_decode_plan_get_info
        library.check(get_info(handle, ctypes.byref(info)))
        self.kernel = info.kernel.decode()
        self.schedule_bytes = info.schedule_bytes
        self.workspace_bytes = info.workspace_bytes

    def prepare(self, lengths: Dict[str, View], schedule: int, stream: int = 0) -> None:
        tensor = make_tensor(lengths["seq_lens"], Tensor)
        make = self._library._library.seesaw_dense_decode_schedule
        status = make(
            self._handle, ctypes.addressof(tensor), schedule, self.schedule_bytes, stream or None
        )
        self._library.check(status)

    def bind(
        self, tensors: Dict[str, View], scale: float, schedule: int, workspace: int, stream: int = 0
    ) -> BoundCall:
        args = sized(
            Arguments,
            **{name: make_tensor(view, Tensor) for name, view in tensors.items()},
            scale=scale,
            schedule=schedule,
            schedule_bytes=self.schedule_bytes,
            workspace=workspace or None,
            workspace_bytes=self.workspace_bytes,
            stream=stream or None,
        )
        run = self._library._library.seesaw_dense_decode_run
        return BoundCall(run, (self._handle.value, ctypes.addressof(args)), args)

    def close(self) -> None:
        self._library._library.seesaw_dense_decode_plan_destroy(self._handle)
