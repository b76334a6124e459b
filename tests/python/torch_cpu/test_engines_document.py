"""docs/engines.md says what the code does."""

import ast
import re
from pathlib import Path

import pytest
import seesaw

ROOT = Path(__file__).parents[3]
PACKAGE = Path(seesaw.__file__).parent


def cells(engine):
    text = (ROOT / "docs" / "engines.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return next(row for row in rows if row[0] == engine)


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def constant(path, name):
    """Of a module's source, as the engine may not be here."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and any(
            isinstance(t, ast.Name) and t.id == name for t in targets
        ):
            return node.value
    raise AssertionError(f"{path} has no {name}")


@pytest.mark.parametrize("engine,folder", [("vLLM", "vllm"), ("SGLang", "sglang")])
def test_versions_are_those_that_are_tested(engine, folder):
    tested = ast.literal_eval(constant(f"{folder}/__init__.py", "TESTED"))
    assert cells(engine)[1:3] == [f"`seesaw.{folder}`", ", ".join(tested)]


def test_models_and_formats_of_transformers():
    supported = ast.literal_eval(constant("transformers/_install.py", "SUPPORTED"))
    formats = [f.name for f in seesaw.formats().values() if (f.d_latent, f.d_rope) == (512, 64)]
    plain = ["bfloat16", "float16", "float32"]
    assert quoted(cells("Transformers")[3]) == [*supported, *plain, *formats]


def test_cache_dtypes_of_vllm():
    names = {
        name: constant("vllm/_common.py", name) for name in ("FP8", "FP8_PACKED")
    }  # of the lists' entries

    def listed(path):
        found = []
        for entry in constant(path, "supported_kv_cache_dtypes").elts:
            starred = entry.value if isinstance(entry, ast.Starred) else entry
            value = ast.literal_eval(names.get(getattr(starred, "id", None), starred))
            found += value if isinstance(entry, ast.Starred) else [value]
        return found

    dense, sparse = listed("vllm/backend.py"), listed("vllm/sparse.py")
    assert sparse == [*dense, "fp8_ds_mla"]
    assert quoted(cells("vLLM")[3])[1:] == sparse


def test_kernels_of_sglang_that_are_replaced():
    replaced = ast.literal_eval(constant("sglang/sparse.py", "OURS"))
    assert quoted(cells("SGLang")[3])[-len(replaced) :] == list(replaced)


def test_names_of_vllm_that_can_be_taken():
    text = (ROOT / "docs" / "engines.md").read_text()
    for name in ast.literal_eval(constant("vllm/__init__.py", "_REPLACEABLE")):
        assert f"{name}`" in text, name


def test_versions_are_those_of_the_extras():
    project = (ROOT / "pyproject.toml").read_text()
    assert f'"transformers>={cells("Transformers")[2].split()[0]}"' in project
    assert f'"torch>={cells("PyTorch")[2].split()[0]}"' in project
    assert f'"jax>={cells("JAX")[2].split()[0]}"' in project
    oldest = cells("SGLang")[2].split(",")[0]
    assert f'"sglang>={oldest}"' in project


def test_entry_points_lead_somewhere():
    for path in re.findall(
        r'^\w+ = "(seesaw\.\w+:\w+)"', (ROOT / "pyproject.toml").read_text(), re.M
    ):
        module, _, name = path.partition(":")
        source = PACKAGE.joinpath(*module.split(".")[1:], "__init__.py").read_text()
        assert f"def {name}(" in source, path
