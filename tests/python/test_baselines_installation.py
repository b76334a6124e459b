"""seesaw.baselines where its native library is, where it is not, and where it does not load."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import seesaw

PACKAGE = Path(seesaw.__file__).parent
MODULE = "seesaw_baselines_ffi.so"


def test_installed_where_onednn_can_be_built_with():
    if not Path("/usr/include/oneapi/dnnl/dnnl.hpp").exists():
        pytest.skip("no oneDNN headers on this machine")
    from seesaw import baselines

    answers = baselines.MultiHeadAttention(d_model=8, num_heads=2).supports(batch=1, tokens=1)
    assert [answer.supported for answer in answers if answer.kernel == "cpu.onednn"] == [True]


def run_in_copy(tmp_path, code, *left_out):
    """Runs code with a copy of the package that lacks some files."""
    shutil.copytree(PACKAGE, tmp_path / "seesaw", ignore=shutil.ignore_patterns(*left_out))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )


def test_import_without_the_library_says_what_to_install(tmp_path):
    code = "import seesaw; seesaw.info(); import seesaw.baselines"
    done = run_in_copy(tmp_path, code, MODULE, "libseesaw_baselines*")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: baselines: this installation of seesaw was built without")
    assert "libdnnl-dev" in last and "pip install --force-reinstall" in last


def test_library_that_does_not_load_is_an_import_error(tmp_path):
    if not (PACKAGE / MODULE).exists():
        pytest.skip("built without the baselines")
    code = "import seesaw.baselines; seesaw.baselines.MultiHeadAttention(8, 2)"
    done = run_in_copy(tmp_path, code, "libseesaw_baselines*")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: baselines: {MODULE} does not load: ")
    assert "libseesaw_baselines.so" in last and "libdnnl-dev" in last


def test_import_loads_no_array_library():
    if not (PACKAGE / MODULE).exists():
        pytest.skip("built without the baselines")
    code = (
        "import sys, seesaw.baselines; print([name for name in "
        "('torch', 'jax', 'cupy', 'numpy', 'tvm_ffi') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
