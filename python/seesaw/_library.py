"""The native library, loaded at the first call.

Importing tvm-ffi imports PyTorch where that is installed, which takes a second or more and fails if
it is half installed: so tvm-ffi is imported without it, and what it does for PyTorch is done once
the first tensor is seen.
"""

from __future__ import annotations

import json
import sys
import threading
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

CURRENT_STREAM = -1
"""As a stream: the one that tvm-ffi took over from the array library for this call."""
BUFFERS_WANTED = 1
"""As the result of a run: nothing ran, as the native module has no memory on that device."""
INT32_WANTED = 2
"""As the result of a run or of `prepare`: nothing ran, as arrays of int64 have to be of int32."""


class _WithoutTorch(MetaPathFinder):
    """For one thread, while it is among the finders: PyTorch is not installed."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in ("torch", "torch_c_dlpack_ext") and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def import_tvm_ffi() -> Any:
    """tvm-ffi, without importing PyTorch if nobody has."""
    if "tvm_ffi" in sys.modules or "torch" in sys.modules:
        import tvm_ffi

        return tvm_ffi
    finder = _WithoutTorch()
    sys.meta_path.insert(0, finder)
    try:
        import tvm_ffi
    finally:
        sys.meta_path.remove(finder)
    return tvm_ffi


def load_torch_support() -> None:
    """What tvm-ffi does for older versions of PyTorch when it is imported with PyTorch there."""
    import_tvm_ffi()
    import torch

    if hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
        return
    from tvm_ffi import _optional_torch_c_dlpack as support

    if getattr(support, "_LIB", None) is None and hasattr(support, "load_torch_c_dlpack_extension"):
        support._LIB = support.load_torch_c_dlpack_extension()


class _Library:
    """Functions of seesaw_ffi.so, as attributes once it is loaded."""

    max_threads: int

    run: Any
    """(key, stream, uint16 is bfloat16, schedule, workspace, tensors..., scalars...) -> int: 0,
    BUFFERS_WANTED or INT32_WANTED. A schedule or workspace that is None lasts for the call."""
    run_tensors: Any
    """The same with a key that lacks what the tensors tell."""
    head: Any
    """(key, schedule) -> bytes: what all calls with this schedule's array begin with"""
    run_scheduled: Any
    """(head, workspace, scalars..., tensors...) -> int: as run, on CURRENT_STREAM, in less time.
    Tensors that are left out at the end are None."""
    prepare: Any
    """(key, stream, schedule, tensors that prepare reads...) -> int: 0, or INT32_WANTED"""
    key_of_problem: Any
    """(operation, device type, device index, fields..., options...) -> key"""
    key_of_tensors: Any
    """(key of what they do not tell, uint16 is bfloat16, tensors...) -> key"""
    schedule_bytes: Any
    workspace_bytes: Any
    both_bytes: Any
    """(key) -> bytes; both: of one buffer for the schedule and the workspace of a call"""

    def __init__(self) -> None:
        self._module: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        module = self.module  # loads it, which sets the attributes above
        return self.__dict__[name] if name in self.__dict__ else getattr(module, name)

    def _load(self) -> None:
        tvm_ffi = import_tvm_ffi()
        tvm_ffi.register_error("NotImplementedError", NotImplementedError)
        module = tvm_ffi.load_module(str(Path(__file__).parent / "seesaw_ffi.so"))
        for name in _CALLS:
            setattr(self, name, getattr(module, name))
        self._module = module
        self.max_threads = self.query("info")["max_threads"]

    @property
    def module(self) -> Any:
        """The tvm-ffi module, for those who register its functions elsewhere."""
        if self._module is None:
            self._load()
        return self._module

    def query(self, name: str, *arguments: Any) -> Any:
        """Calls a function that answers in JSON. For questions, not for calls."""
        return json.loads(str(getattr(self.module, name)(*arguments)))


_CALLS = (
    "run",
    "run_tensors",
    "head",
    "run_scheduled",
    "prepare",
    "key_of_problem",
    "key_of_tensors",
    "schedule_bytes",
    "workspace_bytes",
    "both_bytes",
)
library = _Library()
