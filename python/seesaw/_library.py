"""The native library, loaded at the first call.

Importing tvm-ffi imports PyTorch where that is installed, which takes a second or more: so
`import seesaw` must not do it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CURRENT_STREAM = -1
"""As a stream: the one that tvm-ffi took over from the array library for this call."""
BUFFERS_WANTED = 1
"""As the result of a run: nothing ran, as the native module has no memory on that device."""


class _Library:
    """Functions of seesaw_ffi.so, as attributes once it is loaded."""

    max_threads: int

    run: Any
    """(key, stream, uint16 is bfloat16, schedule, workspace, tensors..., scalars...) -> int: 0, or
    BUFFERS_WANTED. A schedule or workspace that is None lasts for the call."""
    run_tensors: Any
    """The same with a key that lacks what the tensors tell."""
    prepare: Any
    """(key, stream, schedule, tensors that prepare reads...)"""
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
        import tvm_ffi

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
    "prepare",
    "key_of_problem",
    "key_of_tensors",
    "schedule_bytes",
    "workspace_bytes",
    "both_bytes",
)
library = _Library()
