"""A child of fork() computes after its parent used several threads."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
import numpy as np
sys.path.insert(0, {folder!r})
import seesaw
from cases import SCALE, Case
case = Case([300, 512, 20], h_q=16)
parts = [np.ones((64, 8, 32), np.float32)] * 2, [np.ones((64, 8), np.float32)] * 2
calls = dict(
    kernel=lambda: seesaw.dense_decode(*case.arrays, scale=SCALE, num_threads=4),
    reference=lambda: seesaw.dense_decode(
        *case.arrays, scale=SCALE, num_threads=4, kernel="reference.dense_decode"),
    merge=lambda: seesaw.merge_states(*parts, lse_layout="th", num_threads=4),
)
{baselines}
parent = {{name: call() for name, call in calls.items()}}
pid = os.fork()
if pid == 0:
    child = {{name: call() for name, call in calls.items()}}
    near = child.pop('layer') if 'layer' in child else 0  # with fewer threads, other sums
    same = np.allclose(near, parent.get('layer', 0), rtol=1e-5, atol=1e-6)
    same = same and all(np.array_equal(a, b) for n in child for a, b in zip(parent[n], child[n]))
    grandchild = os.fork()
    if grandchild == 0:
        calls["kernel"]()
        os._exit(0)
    os._exit(0 if same and os.waitpid(grandchild, 0)[1] == 0 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
BASELINES = """
import seesaw.baselines
layer = seesaw.baselines.MultiHeadAttention(d_model=64, num_heads=4, num_threads=4)
layer.load_state_dict({name: np.ones(shape, np.float32) / 64
                       for name, shape in layer.parameter_shapes.items()})
x = np.random.default_rng(0).standard_normal((2, 40, 64)).astype(np.float32)
calls["layer"] = lambda: layer(x, causal=True)
"""


@pytest.mark.parametrize("part", ["operations", "baselines"])
def test_a_child_of_fork_computes(part):
    if part == "baselines":
        pytest.importorskip("seesaw.baselines", exc_type=ImportError)
    baselines = BASELINES if part == "baselines" else ""
    script = SCRIPT.format(folder=str(Path(__file__).parent), baselines=baselines)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
