"""Stands in for the module `flash_mla`."""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path
from typing import List


def install() -> types.ModuleType:
    """Makes `import flash_mla` and `from flash_mla.flash_mla_interface import ...` find this
    package, for the rest of the process."""
    from seesaw.compat import flash_mla as ours

    module = types.ModuleType("flash_mla", ours.__doc__)
    interface = types.ModuleType("flash_mla.flash_mla_interface", ours.__doc__)
    for name in ours.__all__:
        if name != "install":
            setattr(module, name, getattr(ours, name))
            setattr(interface, name, getattr(ours, name))
    module.flash_mla_interface = interface  # type: ignore[attr-defined]
    module.__path__ = []  # a package, so that its submodule can be imported
    sys.modules["flash_mla"] = module
    sys.modules["flash_mla.flash_mla_interface"] = interface
    return module


def main(arguments: List[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: python -m seesaw.compat.flash_mla SCRIPT [ARGS...]\n"
            "Runs SCRIPT with `import flash_mla` answered by Seesaw.",
            file=sys.stdout if arguments else sys.stderr,
        )
        return 0 if arguments else 2
    script = arguments[0]
    if not Path(script).is_file():
        print(
            f"seesaw.compat.flash_mla: {script} is no file, allowed: a Python script. "
            "Check its path.",
            file=sys.stderr,
        )
        return 2
    install()
    sys.argv = arguments
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")
    return 0
