"""The native library, loaded at the first call.

Importing tvm-ffi imports PyTorch where that is installed, which takes a second or more: so
`import seesaw` must not do it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

CURRENT_STREAM = -1
"""As a stream: the one that tvm-ffi took over from the array library for this call."""

MAKE_SCHEDULE = 1
"""As the flags of a call of `run`: fill the schedule before running."""


class _Library:
    """Functions of seesaw_ffi.so. `run` and `make_schedule` are on the path of every call, so
    they become plain attributes when the library is loaded."""

    run: Any
    make_schedule: Any
    max_threads: int
    kernels: List[str]

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
        self.run = module.run
        self.make_schedule = module.make_schedule
        self._module = module
        facts = self.query("info")
        self.max_threads = facts["max_threads"]
        self.kernels = facts["kernels"]

    @property
    def module(self) -> Any:
        """The tvm-ffi module, for those who register its functions elsewhere."""
        if self._module is None:
            self._load()
        return self._module

    def query(self, name: str, *arguments: Any) -> Any:
        """Calls a function that answers in JSON."""
        return json.loads(str(getattr(self.module, name)(*arguments)))


library = _Library()
