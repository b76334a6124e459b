"""The wheel brings what it needs: nothing of ours comes from the system, whatever is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import seesaw

PACKAGE = Path(seesaw.__file__).parent
LIBRARIES = PACKAGE.parent / "seesaw.libs"

COMPUTE = """
import numpy as np
import seesaw
import seesaw.baselines
q = np.ones((1, 1, 16, 576), np.float32)
cache = np.ones((1, 64, 1, 576), np.float32)
table, lengths = np.zeros((1, 1), np.int32), np.array([64], np.int32)
out, lse = seesaw.dense_decode(q, cache, table, lengths, scale=1.0)
assert (out == 1).all(), out
layer = seesaw.baselines.MultiHeadAttention(d_model=8, num_heads=2)
shapes = layer.parameter_shapes
layer.load_state_dict({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
assert (layer(np.ones((1, 4, 8), np.float32)) == 0).all()
print(open("/proc/self/maps").read())
"""


def needs_repaired_wheel():
    if not list(LIBRARIES.glob("libdnnl*")):
        pytest.skip("not a wheel of scripts/build_wheel.sh with oneDNN in it")


def test_every_library_of_ours_is_the_wheels():
    needs_repaired_wheel()
    done = subprocess.run([sys.executable, "-c", COMPUTE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {Path(line.split()[-1]) for line in done.stdout.splitlines() if ".so" in line}
    ours = {path for path in loaded if re.match(r"lib(seesaw|hwy|dnnl|gomp|OpenCL)", path.name)}
    names = {re.split(r"[-.]", path.name)[0] for path in ours}
    assert {"libseesaw", "libseesaw_baselines", "libhwy", "libdnnl", "libgomp"} <= names
    elsewhere = [path for path in ours if path.parent not in (PACKAGE, LIBRARIES)]
    # Where something imported PyTorch first, its OpenMP is the process's.
    assert [path for path in elsewhere if path.parent.parent.name != "torch"] == []


def test_clean_root_is_clean():
    """What scripts/check_wheel.sh promises of the place that it runs these tests in."""
    if os.environ.get("SEESAW_CLEAN_ROOT") != "1":
        pytest.skip("not in the clean root of scripts/check_wheel.sh")
    needs_repaired_wheel()
    assert [name for name in ("cc", "gcc", "c++", "clang", "nvcc") if shutil.which(name)] == []
    assert not Path("/usr/include").exists()
    outside = [
        path
        for folder in ("/usr", "/lib", "/lib64")
        for path in Path(folder).rglob("lib*.so*")
        if re.match(r"lib(hwy|dnnl|gomp|OpenCL|cuda)", path.name)
    ]
    assert outside == []
