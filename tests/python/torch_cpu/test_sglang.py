"""seesaw.sglang's class with a stand-in runner and pool, and SGLang's own files where they are."""

import ast
import importlib
import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import seesaw
import torch

D_V, D_QK, HEADS, SCALE = 512, 576, 4, 192**-0.5


class Base:
    """AttentionBackend: nothing of it is used."""


class Mode:
    def __init__(self, name):
        self.name = name

    def is_decode_or_idle(self):
        return self.name in ("decode", "idle")

    def is_target_verify(self):
        return self.name == "verify"


class Pool:
    """One buffer a layer, [slots, 1, 576]."""

    def __init__(self, slots, dtype):
        self.buffers = [torch.full((slots, 1, D_QK), torch.nan).to(dtype) for _ in range(2)]

    def set_kv_buffer(self, layer, slots, k, v):
        buffer = self.buffers[layer.layer_id]
        buffer[slots] = k.view(-1, 1, D_QK).to(buffer.dtype)

    def set_mla_kv_buffer(self, layer, slots, k, k_rope):
        self.set_kv_buffer(layer, slots, torch.cat((k, k_rope), -1), None)

    def get_key_buffer(self, layer_id):
        return self.buffers[layer_id]


class Prefill:
    def __init__(self, runner):
        self.called = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.called.append(name)


class Sparse(Base):
    """DeepseekSparseAttnBackend, as much of it as is used."""

    def __init__(self, runner):
        self.dsa_decode_impl = runner.server_args.dsa_decode_backend

    def forward_decode(self, *args, **named):
        return getattr(self, f"_forward_{self.dsa_decode_impl}")(*args, **named)


@pytest.fixture
def sglang(monkeypatch):
    """Stand-ins for the modules, and the plugin."""
    registry = {"triton": Prefill, "flashmla": Prefill, "dsa": Sparse}
    choices = ["triton", "flashmla"]
    contents = {
        "sglang.srt.layers.attention.base_attn_backend": {"AttentionBackend": Base},
        "sglang.srt.layers.attention.attention_registry": {"ATTENTION_BACKENDS": registry},
        "sglang.srt.layers.attention.dsa_backend": {"DeepseekSparseAttnBackend": Sparse},
        "sglang.srt.server_args": {
            "ATTENTION_BACKEND_CHOICES": choices,
            "add_attention_backend_choices": choices.extend,
        },
    }
    names = {".".join(n.split(".")[:i]) for n in contents for i in range(1, n.count(".") + 2)}
    for name in [n for n in sys.modules if n.startswith("seesaw.sglang")]:
        monkeypatch.delitem(sys.modules, name)
    for name in sorted(names):
        module = types.ModuleType(name)
        module.__path__ = []
        module.__dict__.update(contents.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    return types.SimpleNamespace(
        plugin=importlib.import_module("seesaw.sglang"),
        backend=importlib.import_module("seesaw.sglang.backend"),
        registry=registry,
        choices=choices,
        sparse=lambda: importlib.import_module("seesaw.sglang.sparse"),
    )


def make_runner(page=16, longest=96, requests=5, dtype=torch.float32, **arguments):
    """Requests whose pages are in any order."""
    each = longest // page
    pages = torch.randperm(requests * each).view(requests, each)
    req_to_token = (pages[:, :, None] * page + torch.arange(page)).view(requests, longest)
    return types.SimpleNamespace(
        use_mla_backend=True,
        device="cpu",
        kv_cache_dtype=dtype,
        server_args=types.SimpleNamespace(page_size=page, **arguments),
        model_config=types.SimpleNamespace(kv_lora_rank=D_V, qk_rope_head_dim=D_QK - D_V),
        token_to_kv_pool=Pool(requests * longest, dtype),
        req_to_token_pool=types.SimpleNamespace(req_to_token=req_to_token.to(torch.int32)),
    )


def make_batch(runner, requests, lengths, mode="decode", new=1):
    """lengths: as SGLang has them, int64, without the draft tokens in verification."""
    lengths = torch.tensor(lengths)
    table = runner.req_to_token_pool.req_to_token
    end = lengths + (new if mode == "verify" else 0)
    slots = [table[r, n - new : n].long() for r, n in zip(requests, end.tolist())]
    return types.SimpleNamespace(
        forward_mode=Mode(mode),
        batch_size=len(requests),
        seq_lens=lengths,
        req_pool_indices=torch.tensor(requests),
        out_cache_loc=torch.cat(slots),
    )


def attend(q, rows):
    """[s, h, 512] of q [s, h, 576], the last tokens of rows [n, 576], in double precision."""
    scores = torch.einsum("shd,nd->shn", q.double(), rows.double()) * SCALE
    s, n = q.shape[0], rows.shape[0]
    hidden = torch.arange(n)[None] > n - s + torch.arange(s)[:, None]
    weights = scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1)
    return torch.einsum("shn,nd->shd", weights, rows[:, :D_V].double())


def layer(i):
    return types.SimpleNamespace(layer_id=i, tp_q_head_num=HEADS, scaling=SCALE, k_scale=None)


def check_step(ours, runner, requests, lengths, mode="decode", new=1, in_parts=False, graph=False):
    batch = make_batch(runner, requests, lengths, mode, new)
    known = torch.arange(runner.token_to_kv_pool.buffers[0].shape[0])
    history = torch.randn(2, len(known), D_QK)
    for i in range(2):
        runner.token_to_kv_pool.buffers[i].copy_(history[i][:, None])
        runner.token_to_kv_pool.buffers[i][batch.out_cache_loc] = 0  # to be written
    if graph:
        ours.init_forward_metadata_out_graph(batch)
    else:
        ours.init_forward_metadata(batch)
    forward = ours.forward_decode if mode == "decode" else ours.forward_extend
    for i in range(2):
        tokens = len(requests) * new
        q, k = torch.randn(tokens, HEADS, D_QK), history[i][batch.out_cache_loc][:, None]
        if in_parts:
            parts = (q[..., :D_V].contiguous(), k[..., :D_V], k[..., :D_V])
            more = {"q_rope": q[..., D_V:].contiguous(), "k_rope": k[..., D_V:]}
            out = forward(*parts, layer(i), batch, **more)
        else:
            out = forward(q.view(tokens, -1), k, k[..., :D_V], layer(i), batch)
        assert out.shape == (tokens, HEADS * D_V)
        stored = runner.token_to_kv_pool.buffers[i][:, 0].float()
        for j, (request, length) in enumerate(zip(requests, lengths)):
            n = length + (new if mode == "verify" else 0)
            slots = runner.req_to_token_pool.req_to_token[request, :n].long()
            here = slice(j * new, (j + 1) * new)
            wanted = attend(q[here], stored[slots])
            assert (out[here].view(new, HEADS, D_V) - wanted).abs().max() < 3e-5


@pytest.mark.parametrize("page", [1, 16, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e4m3fn])
def test_decoding(sglang, page, dtype):
    runner = make_runner(page, dtype=dtype)
    ours = sglang.backend.SeesawAttnBackend(runner, Prefill)
    check_step(ours, runner, [3, 0, 4], [70, 1, 33])
    check_step(ours, runner, [3, 0, 4], [71, 2, 34], in_parts=True)
    check_step(ours, runner, [1], [96])
    check_step(ours, runner, [0, 1, 2, 3, 4], [5, 96, 17, 16, 15])
    assert ours._prefill is None


def test_verification_of_draft_tokens(sglang):
    runner = make_runner(speculative_num_draft_tokens=4, speculative_eagle_topk=1)
    ours = sglang.backend.SeesawAttnBackend(runner, Prefill)
    check_step(ours, runner, [2, 1], [40, 7], mode="verify", new=4)
    check_step(ours, runner, [2, 1], [41, 11])
    check_step(ours, runner, [2, 1], [42, 12], mode="verify", new=4)


def test_buffers_and_schedules_stay_where_they_are(sglang):
    """What a CUDA graph captured is what later steps write to."""
    runner = make_runner()
    ours = sglang.backend.SeesawAttnBackend(runner, Prefill)
    ours.init_cuda_graph_state(5, 5)
    assert ours.get_cuda_graph_seq_len_fill_value() == 1
    check_step(ours, runner, [0, 1], [9, 90], graph=True)
    kept = (ours._table.data_ptr(), ours._lengths.data_ptr(), ours._schedules[2, 1].buffer)
    check_step(ours, runner, [0, 1, 4], [9, 90, 3], graph=True)
    check_step(ours, runner, [3, 4], [70, 2], graph=True)
    assert kept == (
        ours._table.data_ptr(),
        ours._lengths.data_ptr(),
        ours._schedules[2, 1].buffer,
    )


def test_prompts_are_the_engines(sglang):
    runner = make_runner()
    ours = sglang.backend.SeesawAttnBackend(runner, Prefill)
    batch = make_batch(runner, [0], [5], mode="extend", new=5)
    ours.init_forward_metadata(batch)
    ours.forward_extend(None, None, None, layer(0), batch)
    assert ours.prefill.called == ["init_forward_metadata", "forward_extend"]


def test_registration(sglang, monkeypatch):
    sglang.plugin.register()
    sglang.plugin.register()
    assert sglang.choices.count("seesaw") == 1
    made = sglang.registry["seesaw"](make_runner())
    assert isinstance(made, sglang.backend.SeesawAttnBackend)
    assert isinstance(made.prefill, Prefill) and sglang.registry["flashmla"] is Prefill
    monkeypatch.setenv("SEESAW_SGLANG_REPLACE", "flashmla")
    sglang.plugin.register()
    sglang.plugin.register()
    made = sglang.registry["flashmla"](make_runner())
    assert isinstance(made, sglang.backend.SeesawAttnBackend)
    assert isinstance(made.prefill, Prefill)
    monkeypatch.setenv("SEESAW_SGLANG_REPLACE", "nobody")
    with pytest.raises(
        ValueError, match="SEESAW_SGLANG_REPLACE = nobody, allowed: dsa, flashmla, tri"
    ):
        sglang.plugin.register()


TOPK = 40


def make_sparse(sglang, monkeypatch, impl):
    """By the name that SGLang chooses for a sparse model."""
    monkeypatch.setenv("SEESAW_SGLANG_REPLACE", "dsa")
    sglang.plugin.register()
    arguments = types.SimpleNamespace(dsa_decode_backend=impl)
    return sglang.registry["dsa"](types.SimpleNamespace(server_args=arguments))


def sparse_case(tokens, heads, packed):
    """(queries, a pool, what is read of it, slots, of which some are -1)."""
    torch.manual_seed(tokens * heads)
    rows = torch.randn(200, D_QK).bfloat16()
    pool, read = rows[:, None].clone(), rows.float()
    if packed:
        pool = torch.zeros(200, 1, 656, dtype=torch.uint8)
        everywhere = torch.arange(200)
        seesaw.append(
            rows[:, :D_V], rows[:, D_V:], everywhere, pool, kv_format="fp8_656", scales="exact"
        )
        read = torch.empty(200, D_QK)
        seesaw.gather(pool, slots=everywhere, kv_format="fp8_656", out=read)
        pool = pool.view(torch.float8_e4m3fn)
    slots = torch.stack([torch.randperm(200)[:TOPK] for _ in range(tokens)]).int()
    slots[0, 5:] = -1
    slots[-1] = -1
    return torch.randn(tokens, heads, D_QK).bfloat16(), pool, read, slots


def check_sparse(out, q, read, slots, factors=None):
    for i in range(q.shape[0]):
        chosen = slots[i][slots[i] >= 0].long()
        if len(chosen) == 0:
            assert (out[i] == 0).all()
            continue
        scores = q[i].double() @ read[chosen].double().T * SCALE
        wanted = scores.softmax(-1) @ read[chosen, :D_V].double()
        if factors is not None:
            lse = scores.logsumexp(-1)
            wanted = wanted * torch.sigmoid(lse - factors.double())[:, None]
        assert ((out[i] - wanted).abs() < 4e-3 + 2**-7 * wanted.abs()).all()  # an ulp of bfloat16


@pytest.mark.parametrize("heads", [1, 3, 16])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("impl", ["flashmla_sparse", "flashmla_kv"])
def test_sparse_attention(sglang, monkeypatch, impl, packed, heads):
    ours = make_sparse(sglang, monkeypatch, impl)
    at = types.SimpleNamespace(tp_q_head_num=heads, head_dim=D_QK)
    for tokens in (4, 7, 4):
        q, pool, read, slots = sparse_case(tokens, heads, packed)
        common = {"kv_cache": pool, "v_head_dim": D_V, "page_table_1": slots, "sm_scale": SCALE}
        if impl == "flashmla_kv":
            flat = q.view(tokens, heads * D_QK)
            out = ours.forward_decode(q_all=flat, layer=at, metadata=None, **common)
            assert out.shape == (tokens, 1, heads, D_V)
            out = out[:, 0]
        else:
            out = ours.forward_decode(q_all=q, **common)
        check_sparse(out, q, read, slots)
    assert len(ours._schedules) == 2


def test_sparse_attention_with_lengths_and_sinks(sglang, monkeypatch):
    """What 0.5.23 passes besides."""
    ours = make_sparse(sglang, monkeypatch, "flashmla_sparse")
    q, pool, read, slots = sparse_case(5, 3, packed=False)
    sinks, lengths = torch.randn(3).bfloat16(), (slots >= 0).sum(1).int()
    out = ours._forward_flashmla_sparse(q, pool, D_V, slots, SCALE, lengths, sinks)
    check_sparse(out, q, read, slots, sinks)
    many = slots[:1].expand(sglang.sparse()._MOST_KEPT + 1, -1)
    kept = len(ours._schedules)
    ours._forward_flashmla_sparse(q[:1].expand(len(many), -1, -1), pool, D_V, many, SCALE)
    assert len(ours._schedules) == kept


def test_sparse_refusals(sglang, monkeypatch):
    with pytest.raises(ValueError, match="dsa_decode_backend = fa3, allowed: flashmla_sparse, fl"):
        make_sparse(sglang, monkeypatch, "fa3")
    ours = make_sparse(sglang, monkeypatch, "flashmla_kv")
    q, _, _, slots = sparse_case(2, 1, packed=False)
    pool = torch.zeros(9, 1, 584, dtype=torch.uint8)
    with pytest.raises(NotImplementedError, match="584 bytes a token, allowed: 656"):
        ours._forward_flashmla_sparse(q, pool, D_V, slots, SCALE)


def test_refusals(sglang):
    make = sglang.backend.SeesawAttnBackend
    with pytest.raises(NotImplementedError, match="speculative_eagle_topk = 4, allowed: 1"):
        make(make_runner(speculative_eagle_topk=4), Prefill)
    with pytest.raises(NotImplementedError, match="fp8_e5m2, allowed"):
        make(make_runner(dtype=torch.float8_e5m2), Prefill)
    sglang.plugin.register()
    runner = make_runner()
    runner.use_mla_backend = False
    with pytest.raises(ValueError, match="a model without MLA"):
        sglang.registry["seesaw"](runner)
    runner = make_runner()
    runner.model_config.hf_config = types.SimpleNamespace(index_topk=2048)
    with pytest.raises(ValueError, match="with sparse attention, allowed.*SGLANG_REPLACE=dsa"):
        sglang.registry["seesaw"](runner)


# ---- SGLang's own files ----------------------------------------------------------------------


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
