"""What the Python tests share: they run against the installed package, not the source tree.

NumPy alone suffices for the files of this folder. torch_cpu/, jax_cpu/ and gpu/ are left out where
what they need is missing; SEESAW_TEST_TORCH=1 makes a missing PyTorch a failure instead.
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_ignore_collect(collection_path, config):
    folder = collection_path.name if collection_path.is_dir() else collection_path.parent.name
    if folder == "torch_cpu":
        return None if _have_torch() else True
    if folder == "jax_cpu":
        return None if _have("jax") and _have("jax_tvm_ffi") else True
    if folder == "gpu":
        return None if _have_gpu() else True
    return None


def pytest_report_header(config):
    import seesaw

    parts = [f"seesaw {seesaw.__version__} of {Path(seesaw.__file__).parent}"]
    for folder, there in (
        ("torch", _have("torch")),
        ("jax", _have("jax") and _have("jax_tvm_ffi")),
        ("gpu", _have_gpu()),
    ):
        parts.append(f"{folder}: {'run' if there else 'not here, left out'}")
    return ", ".join(parts)


def _have(name):
    from importlib import util

    return util.find_spec(name) is not None


def _have_torch():
    if not _have("torch") and os.environ.get("SEESAW_TEST_TORCH") == "1":
        pytest.exit("SEESAW_TEST_TORCH=1, but PyTorch is not installed", returncode=2)
    return _have("torch")


def _have_gpu():
    import seesaw

    return any(row.device != "cpu" and row.usable for row in seesaw.info().devices)
