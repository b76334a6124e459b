"""Beside PyTorch in one process: one OpenMP, whichever package came first, and no thread more than
was asked for."""

import subprocess
import sys
from pathlib import Path

import pytest
import seesaw

PACKAGE = Path(seesaw.__file__).parent

CALLS = """
import os
import ctypes
{first}
import torch
import seesaw.baselines

def threads():
    return len(os.listdir("/proc/self/task"))

def openmps():
    lines = open("/proc/self/maps").read().splitlines()
    return {{line.split()[-1] for line in lines if "gomp" in line or "iomp" in line}}

torch.set_num_threads(2)
a = torch.ones(512, 512)
cache = torch.ones(4, 64, 1, 576)
q = torch.ones(4, 1, 16, 576)
table = torch.arange(4, dtype=torch.int32).reshape(4, 1)
lengths = torch.full((4,), 64, dtype=torch.int32)
layer = seesaw.baselines.MultiHeadAttention(d_model=64, num_heads=2, num_threads=2)
shapes = layer.parameter_shapes
layer.load_state_dict({{name: torch.zeros(shape) for name, shape in shapes.items()}})
x = torch.ones(8, 64, 64)

def both():
    assert (torch.softmax(a @ a, dim=-1) > 0).all()
    out, _ = seesaw.dense_decode(q, cache, table, lengths, scale=1.0, num_threads=2)
    assert (out == 1).all()
    assert (layer(x) == 0).all()

torch.softmax(a @ a, dim=-1)
before = threads()
for _ in range(20):
    both()
print(threads() - before)
(openmp,) = openmps()  # one in the process
print(openmp)
"""


@pytest.mark.parametrize("first", ["torch", "seesaw"])
def test_calls_in_turn_share_two_threads(first):
    # Without this PyTorch is always first: the package loads its library at the first call only.
    library = next(PACKAGE.glob("libseesaw.so*"))
    code = CALLS.format(first=f"ctypes.CDLL({str(library)!r})" if first == "seesaw" else "")
    # A few seconds; a hang takes for ever.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    more_threads, openmp = done.stdout.splitlines()
    assert int(more_threads) == 0  # those that PyTorch has started serve both
    if (PACKAGE.parent / "seesaw.libs").is_dir():
        assert Path(openmp).parent.name == {"torch": "lib", "seesaw": "seesaw.libs"}[first]
