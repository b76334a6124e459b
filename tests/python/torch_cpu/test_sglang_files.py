"""seesaw.sglang's interface beside SGLang's own files of every version that is tested."""

import ast
import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import seesaw


def names_of(tree):
    """Of a module: defined or imported there."""
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("version", importlib.import_module("seesaw.sglang").TESTED)
def test_the_interface(version, tmp_path):
    """Names that are imported, and what overridden methods are called with. SEESAW_SGLANG_SOURCES:
    a folder that has the files by version, in place of PyPI."""
    if os.environ.get("SEESAW_TEST_ENGINES") != "1":
        pytest.skip("SEESAW_TEST_ENGINES=1 fetches SGLang's wheels")
    here = os.environ.get("SEESAW_SGLANG_SOURCES")
    folder = Path(here) / f"s{version}" if here else tmp_path
    if not here:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*pip, f"sglang=={version}"], check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            archive.extractall(folder, [n for n in archive.namelist() if n.endswith(".py")])

    def tree_of(module):
        return ast.parse(folder.joinpath(*module.split(".")).with_suffix(".py").read_text())

    ours = Path(seesaw.__file__).parent / "sglang"
    for path in ours.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sglang"):
                names = names_of(tree_of(node.module))
                for alias in node.names:
                    assert alias.name in names, f"{path.name}: {node.module}.{alias.name}"

    def methods(tree, name):
        found = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == name:
                for f in node.body:
                    if isinstance(f, ast.FunctionDef):
                        found[f.name] = [a.arg for a in f.args.args]
        return found

    check_sparse_interface(tree_of, methods, ours)
    theirs = methods(tree_of("sglang.srt.layers.attention.base_attn_backend"), "AttentionBackend")
    mine = methods(ast.parse((ours / "backend.py").read_text()), "SeesawAttnBackend")
    overridden = [name for name in mine if name in theirs and name != "__init__"]
    assert len(overridden) >= 6
    for name in overridden:
        assert mine[name][: len(theirs[name])] == theirs[name], name


def check_sparse_interface(tree_of, methods, ours):
    """SGLang's methods are there, take no more than ours, and are called by these names alone."""
    tree = tree_of("sglang.srt.layers.attention.dsa_backend")
    theirs = methods(tree, "DeepseekSparseAttnBackend")
    mine = methods(ast.parse((ours / "sparse.py").read_text()), "SeesawSparseAttnBackend")
    for impl in ("flashmla_sparse", "flashmla_kv"):
        name = f"_forward_{impl}"
        assert mine[name][: len(theirs[name])] == theirs[name]
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"self.{name}"
        ]
        assert len(calls) >= 2
        for call in calls:
            assert {keyword.arg for keyword in call.keywords} <= set(mine[name])
        # What dsa_decode_impl says decides which is called.
        assert f"impl == '{impl}'" in ast.unparse(tree)
    assert "self.dsa_decode_impl" in ast.unparse(tree)
    registry = ast.unparse(tree_of("sglang.srt.layers.attention.attention_registry"))
    assert "@register_attention_backend('dsa')" in registry
