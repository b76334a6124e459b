"""Every Python snippet of README.md, docs/python.md and docs/engines.md runs, in order, in one process a file."""

import os
import re
import subprocess
import sys
import types
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import seesaw

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```python(?P<needs>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def is_here(name):
    if name == "baselines":
        return (Path(seesaw.__file__).parent / "seesaw_baselines_ffi.so").exists()
    return util.find_spec(name) is not None


def snippets(path):
    """Code blocks of a document; "```python needs=torch" wants that module, or that part of the
    package."""
    for match in FENCE.finditer(path.read_text()):
        needs = re.findall(r"needs=(\w+)", match["needs"])
        if all(is_here(name) for name in needs):
            line = path.read_text()[: match.start()].count("\n") + 1
            yield f"# {path.name}:{line}\n{match['code']}"


@pytest.mark.parametrize("name", ["README.md", "docs/python.md", "docs/engines.md"])
def test_snippets_run(name, tmp_path):
    path = ROOT / name
    code = "\n".join(snippets(path))
    if not code:
        assert name != "docs/python.md", "docs/python.md without a snippet"
        pytest.skip(f"{name} has no Python snippet for what is here")
    script = tmp_path / "snippets.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dump_of_the_case_format_writes_plain_numbers(monkeypatch):
    """Whatever scalars a model holds: numbers of Python and NumPy, tensors without dimensions."""
    scalars = [(192**-0.5, True), (np.float64(192**-0.5), np.bool_(True))]
    if is_here("torch"):
        import torch

        scalars.append((torch.tensor(192**-0.5, dtype=torch.float64), torch.tensor(True)))
    written = []
    stub = types.ModuleType("safetensors.torch")
    stub.save_file = lambda tensors, path, metadata: written.append(metadata)
    monkeypatch.setitem(sys.modules, "safetensors", types.ModuleType("safetensors"))
    monkeypatch.setitem(sys.modules, "safetensors.torch", stub)

    class Tensor:
        def __getattr__(self, name):
            return lambda: self

    code = next(s for s in snippets(ROOT / "docs" / "case-format.md") if "def dump_case" in s)
    names = {}
    exec(code, names)
    for scale, causal in scalars:
        names["dump_case"]("case.safetensors", *[Tensor()] * 4, scale, causal)
    plain = {"scale": "0.07216878364870322", "causal": "True", "d_v": "512"}
    assert written == [plain] * len(scalars)
