"""seesaw_baselines_ffi.so, loaded at the first call; not every installation has it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from seesaw._library import import_tvm_ffi

_MODULE = Path(__file__).parent.parent / "seesaw_baselines_ffi.so"


def require_installed() -> None:
    """Raises ImportError if the package was built without the baselines."""
    if not _MODULE.exists():
        raise ImportError(
            "baselines: this installation of seesaw was built without libseesaw_baselines, "
            "allowed: one built where oneDNN's headers are. Install them (on Debian and Ubuntu: "
            "apt-get install libdnnl-dev) and build again in a clone: "
            "pip install --force-reinstall --no-deps .",
            name="seesaw.baselines",
        )


@cache
def native() -> Any:
    """The tvm-ffi module. Raises ImportError if a library that it needs is missing."""
    require_installed()
    tvm_ffi = import_tvm_ffi()
    tvm_ffi.register_error("NotImplementedError", NotImplementedError)
    try:
        return tvm_ffi.load_module(str(_MODULE))
    except (OSError, RuntimeError) as error:
        raise ImportError(
            f"baselines: {_MODULE.name} does not load: {error}, allowed: with the libraries that "
            "it was built with. Install oneDNN's library (on Debian and Ubuntu: apt-get install "
            "libdnnl-dev), and cuBLAS where the build had CUDA.",
            name="seesaw.baselines",
            path=str(_MODULE),
        ) from error


def query(name: str, *arguments: Any) -> Any:
    """Calls a function that answers in JSON."""
    return json.loads(str(getattr(native(), name)(*arguments)))
