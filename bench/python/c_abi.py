"""Decoding through the C ABI, for measurements and tests: `load(path)` gives a library, of
this ABI or of the one before it (c_abi_before.py), behind the same few methods.

Imports neither the Python package nor an array library: what it needs of an array is its shape, its
strides in elements and its address. Problems, options and arguments are laid out by the tables that
the library describes itself with; the structs below are those that are in no table.
"""

from __future__ import annotations

import ctypes
import json
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

FLOAT32, BFLOAT16, FLOAT16, INT32 = 1, 2, 3, 4
UINT8 = 6
"""seesaw_dtype."""
CPU, CUDA = 1, 2
"""seesaw_device_type."""
ALIGNMENT = 256
"""Of schedules and workspaces, bytes."""
MAX_RANK = 4
TENSORS = ("q", "kv_cache", "block_table", "seq_lens", "out", "lse")


class View(NamedTuple):
    """An array: `strides` in elements, None: packed; `device`: (seesaw_device_type, index)."""

    address: int
    shape: Sequence[int]
    dtype: int
    device: Tuple[int, int]
    strides: Optional[Sequence[int]] = None

    def packed_strides(self) -> Sequence[int]:
        strides = [1] * len(self.shape)
        for i in reversed(range(len(self.shape) - 1)):
            strides[i] = strides[i + 1] * self.shape[i + 1]
        return strides


class Device(ctypes.Structure):
    """seesaw_device."""

    _fields_ = [("type", ctypes.c_int32), ("index", ctypes.c_int32)]


class Tensor(ctypes.Structure):
    """seesaw_tensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * MAX_RANK),
        ("stride", ctypes.c_int64 * MAX_RANK),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("device", Device),
        ("reserved", ctypes.c_uint64 * 2),
    ]


class Call(ctypes.Structure):
    """seesaw_call."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("schedule", ctypes.c_void_p),
        ("schedule_bytes", ctypes.c_uint64),
        ("workspace", ctypes.c_void_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("stream", ctypes.c_void_p),
    ]


class Details(ctypes.Structure):
    """The beginning of seesaw_plan_details."""

    _fields_ = [
        ("struct_size", ctypes.c_uint64),
        ("operation", ctypes.c_char_p),
        ("kernel", ctypes.c_char_p),
        ("workspace_bytes", ctypes.c_uint64),
        ("schedule_bytes", ctypes.c_uint64),
    ]


class TraceSpan(ctypes.Structure):
    """seesaw_trace_span."""

    _fields_ = [
        ("step", ctypes.c_char_p),
        ("worker", ctypes.c_int32),
        ("part", ctypes.c_int32),
        ("sequence", ctypes.c_int32),
        ("row_group", ctypes.c_int32),
        ("tile", ctypes.c_int32),
        ("of_tile", ctypes.c_int32),
        ("begin_us", ctypes.c_double),
        ("end_us", ctypes.c_double),
    ]


MOST_SPANS = 1 << 20


def sized(kind: Any, **fields: object) -> Any:
    """A struct whose first member is its size."""
    return kind(struct_size=ctypes.sizeof(kind), **fields)


def make_tensor(view: View, kind: Any = Tensor) -> Any:
    longs = ctypes.c_int64 * MAX_RANK
    strides = view.packed_strides() if view.strides is None else view.strides
    return kind(
        view.address,
        longs(*view.shape),
        longs(*strides),
        len(view.shape),
        view.dtype,
        Device(*view.device),
    )


class Table:
    """A struct of the library's tables: bytes, filled in by name."""

    _FORMATS = {"int64": "q", "float32": "f", "text": "P", "device": "ii", "tensor": ""}

    def __init__(self, size: int, fields: Dict[str, Tuple[str, int]]) -> None:
        self._fields = fields
        self.bytes = ctypes.create_string_buffer(size)
        self._kept: list = []
        struct.pack_into("Q", self.bytes, 0, size)

    def set(self, name: str, value: Any) -> None:
        kind, offset = self._fields[name]
        if kind == "tensor":
            tensor = make_tensor(value)
            ctypes.memmove(
                ctypes.addressof(self.bytes) + offset, ctypes.byref(tensor), ctypes.sizeof(tensor)
            )
            return
        if kind == "text":
            text = ctypes.create_string_buffer(value.encode())
            self._kept.append(text)
            value = ctypes.addressof(text)
        values = value if kind == "device" else (value,)
        struct.pack_into(self._FORMATS.get(kind, "i"), self.bytes, offset, *values)

    @property
    def address(self) -> int:
        return ctypes.addressof(self.bytes)


class Library:
    """libseesaw, of which one operation is called."""

    def __init__(self, library: ctypes.CDLL, operation_name: str) -> None:
        self._library = library
        self._operation = operation_name.encode()
        library.seesaw_last_error.restype = ctypes.c_char_p
        for function in ("seesaw_plan_run", "seesaw_plan_prepare"):
            getattr(library, function).argtypes = [ctypes.c_void_p] * 3
        description = self._describe()
        (operation,) = [
            row for row in description["operations"] if row["name"] == operation_name
        ]
        self._problem = (operation["problem_bytes"], _by_name(operation["problem"]))
        self._options = (description["options_bytes"], _by_name(description["options"]))
        self._args = (
            operation["args_bytes"],
            {
                **_by_name(operation["scalars"]),
                **{row["name"]: ("tensor", row["offset"]) for row in operation["args"]},
            },
        )

    def _describe(self) -> Any:
        needed = ctypes.c_uint64()
        self._library.seesaw_describe(None, ctypes.c_uint64(0), ctypes.byref(needed))
        text = ctypes.create_string_buffer(needed.value)
        self.check(self._library.seesaw_describe(text, needed, ctypes.byref(needed)))
        return json.loads(text.value)

    def check(self, status: int) -> None:
        """Raises the library's own message if a call failed."""
        if status != 0:
            raise RuntimeError(self._library.seesaw_last_error().decode())

    def empty_call(self) -> Callable[[], Any]:
        """A function that does next to nothing: what ctypes itself costs."""
        return self._library.seesaw_version

    def plan(
        self, device: Tuple[int, int], num_threads: int = 0, kernel: str = "", **problem: int
    ) -> Plan:
        """By a kernel of that name, "": the library's choice. The caller's to close."""
        asked, options = Table(*self._problem), Table(*self._options)
        for name, value in problem.items():
            asked.set(name, value)
        options.set("device", device)
        options.set("num_threads", num_threads)
        if kernel:
            options.set("kernel", kernel)
        handle = ctypes.c_void_p()
        status = self._library.seesaw_plan_create(
            self._operation,
            ctypes.c_void_p(asked.address),
            ctypes.c_void_p(options.address),
            ctypes.byref(handle),
        )
        self.check(status)
        return Plan(self, handle)

    def arguments(self, tensors: Dict[str, View], scale: float = 1.0) -> Table:
        table = Table(*self._args)
        table.set("scale", scale)
        for name, view in tensors.items():
            table.set(name, view)
        return table


class Plan:
    """seesaw_plan."""

    def __init__(self, library: Library, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle
        details = sized(Details)
        functions = library._library
        library.check(functions.seesaw_plan_info(handle, ctypes.byref(details)))
        self.kernel = details.kernel.decode()
        self.schedule_bytes = details.schedule_bytes
        self.workspace_bytes = details.workspace_bytes

    def prepare(self, lengths: Dict[str, View], schedule: int, stream: int = 0) -> None:
        """lengths: the tensors that a schedule follows from, by name."""
        args = self._library.arguments(lengths)
        call = sized(
            Call, schedule=schedule, schedule_bytes=self.schedule_bytes, stream=stream or None
        )
        run = self._library._library.seesaw_plan_prepare
        self._library.check(run(self._handle, args.address, ctypes.addressof(call)))

    def bind(
        self, tensors: Dict[str, View], scale: float, schedule: int, workspace: int, stream: int = 0
    ) -> BoundCall:
        """A call with every argument bound; its result is the status."""
        args = self._library.arguments(tensors, scale)
        call = sized(
            Call,
            schedule=schedule,
            schedule_bytes=self.schedule_bytes,
            workspace=workspace or None,
            workspace_bytes=self.workspace_bytes,
            stream=stream or None,
        )
        run = self._library._library.seesaw_plan_run
        return BoundCall(
            run, (self._handle.value, args.address, ctypes.addressof(call)), call, args
        )

    def close(self) -> None:
        self._library._library.seesaw_plan_destroy(self._handle)


class BoundCall:
    """`run()` is the bare C call and returns the status; it keeps alive what is in `kept`."""

    def __init__(self, function: Any, addresses: Tuple[Any, ...], call: Any, *kept: Any) -> None:
        self._call, self._addresses = call, addresses
        self.kept = [call, *kept]

        def run(_kept: Any = self.kept) -> int:
            return function(*addresses)

        self.run = run

    def set_stream(self, stream: int) -> None:
        self._call.stream = stream or None

    def trace(self, library: Library) -> List[TraceSpan]:
        """The same call by the kernel's traced variant; waits."""
        spans, count = (TraceSpan * MOST_SPANS)(), ctypes.c_uint64()
        status = library._library.seesaw_plan_trace(
            *(ctypes.c_void_p(address) for address in self._addresses),
            spans,
            ctypes.c_uint64(ctypes.sizeof(TraceSpan)),
            ctypes.c_uint64(MOST_SPANS),
            ctypes.byref(count),
        )
        library.check(status)
        return spans[: min(count.value, MOST_SPANS)]


def _by_name(rows: Sequence[Dict[str, Any]]) -> Dict[str, Tuple[str, int]]:
    return {row["name"]: (row["type"], row["offset"]) for row in rows}


def load(path: Path, operation: str = "dense_decode") -> Any:
    """The library of this file: of this ABI, or of the one before it (dense_decode alone)."""
    library = ctypes.CDLL(str(path))
    if hasattr(library, "seesaw_plan_create"):
        return Library(library, operation)
    from c_abi_before import LibraryBefore

    return LibraryBefore(library)
