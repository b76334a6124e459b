"""seesaw.vllm's sparse backend, and the choice between it and the dense one, with stand-ins for
vLLM's classes. test_vllm_files.py compares its interface with vLLM's own files."""

import importlib
import types

import pytest
import seesaw
import stand_in_vllm
import torch

SCALE, TOPK, PAGE = 192**-0.5, 128, 16


def config_of(dtype=torch.bfloat16, cache_dtype="auto", heads=3, ranks=1, bound=None, **attention):
    layers = {"layer": types.SimpleNamespace(kv_cache=bound)}
    return types.SimpleNamespace(
        model_config=types.SimpleNamespace(
            dtype=dtype,
            topk=TOPK,
            get_num_attention_heads=lambda parallel: heads,
            hf_config=types.SimpleNamespace(index_topk=TOPK),
        ),
        parallel_config=types.SimpleNamespace(decode_context_parallel_size=ranks),
        cache_config=types.SimpleNamespace(cache_dtype=cache_dtype),
        attention_config=types.SimpleNamespace(**attention),
        compilation_config=types.SimpleNamespace(static_forward_context=layers),
    )


@pytest.fixture(params=["0.26", "0.32"])
def sparse(monkeypatch, request):
    contents = stand_in_vllm.install(monkeypatch)
    if request.param == "0.26":  # has no common class of a step
        name = "vllm.model_executor.layers.attention.sparse_mla_attention"
        module = importlib.import_module(name)
        monkeypatch.delattr(module, "SparseMLACommonMetadata")
        assert name in contents
    return importlib.import_module("seesaw.vllm.sparse")


def make(sparse, cache_dtype, buffer, heads=3, bound=None):
    config = config_of(cache_dtype=cache_dtype, heads=heads, bound=bound)
    spec = types.SimpleNamespace(block_size=PAGE)
    device = torch.device("cpu")
    builder = sparse.SeesawSparseMLAMetadataBuilder(spec, ["layer"], config, device)
    named = {"alibi_slopes": None, "sliding_window": None, "logits_soft_cap": None}
    named["kv_cache_dtype"] = cache_dtype
    impl = sparse.SeesawSparseMLAImpl(heads, 576, SCALE, 1, topk_indices_buffer=buffer, **named)
    assert impl.supports_quant_query_input is False and builder.reorder_batch_threshold == 128
    return builder, impl


def common_of(new, table, decodes=None):
    """A step whose first `decodes` sequences decode; all: None."""
    requests = torch.repeat_interleave(torch.arange(len(new)), torch.tensor(new)).int()
    decodes = len(new) if decodes is None else decodes
    return types.SimpleNamespace(
        num_actual_tokens=sum(new),
        num_decode_tokens=sum(new[:decodes]),
        req_id_per_token=requests,
        block_table=table,
    )


def written(sparse, impl, rows, table, cache_dtype, k_scale):
    """(the cache with each sequence's rows, the same rows as they are read)."""
    stored = {"auto": torch.bfloat16, "fp8": torch.float8_e4m3fn, "fp8_ds_mla": torch.uint8}
    dtype = stored[cache_dtype]
    shape = sparse.SeesawSparseMLABackend.get_kv_cache_shape(
        int(table.max()) + 1, PAGE, 1, 576, cache_dtype
    )
    cache = torch.zeros(shape, dtype=torch.uint8 if dtype != torch.bfloat16 else dtype)
    cache = cache.view(dtype)
    found = []
    for i, new in enumerate(rows):
        at = torch.arange(len(new))
        slots = table[i].long()[at // PAGE] * PAGE + at % PAGE
        impl.do_kv_cache_update(
            new[:, :512], new[:, None, 512:], cache, slots, cache_dtype, k_scale
        )
        kv_format = {"auto": "bfloat16", "fp8": "fp8_576", "fp8_ds_mla": "fp8_656"}[cache_dtype]
        read = torch.empty(len(new), 576)
        more = {"kv_scale": k_scale.view(1)} if cache_dtype == "fp8" else {}
        seesaw.gather(cache, slots=slots, kv_format=kv_format, out=read, **more)
        found.append(read)
    return cache, found


def attend(q, rows, chosen):
    """[h, 512] of a query token [h, 576] over rows chosen by number, in double precision."""
    keys = rows[chosen[chosen >= 0].long()].double()
    scores = q.double() @ keys.T * SCALE
    return scores.softmax(-1) @ keys[:, :512] if len(keys) else torch.zeros(len(q), 512).double()


@pytest.mark.parametrize("cache_dtype", ["auto", "fp8", "fp8_ds_mla"])
@pytest.mark.parametrize("as_parts", [True, False])
def test_every_token_attends_its_list(sparse, cache_dtype, as_parts):
    torch.manual_seed(1)
    buffer = torch.full((64, TOPK), 12345, dtype=torch.int32)  # what is not a token's is not read
    builder, impl = make(sparse, cache_dtype, buffer)
    k_scale = torch.tensor(0.5)
    layer = types.SimpleNamespace(_k_scale=k_scale)
    table = torch.randperm(3 * 12, dtype=torch.int32).view(3, 12)
    for new, decodes in (([1, 1, 1], 3), ([2, 1, 4], 3), ([1, 3, 30], 2)):
        rows = [torch.randn(n, 576).bfloat16() for n in (170, 33, 90)]
        cache, read = written(sparse, impl, rows, table, cache_dtype, k_scale)
        common = common_of(new, table, decodes)
        tokens = sum(new)
        for i, request in enumerate(common.req_id_per_token.tolist()):
            count = min(TOPK, len(rows[request]), 5 + 11 * i)
            buffer[i] = -1
            places = torch.randperm(TOPK)[:count]  # the gaps are anywhere
            buffer[i, places] = torch.randperm(len(rows[request]))[:count].int()
        step = builder.build(0, common)
        assert isinstance(step, sparse.SeesawSparseMLAMetadata)
        assert set(step.schedules) == {tokens, sum(new[:decodes])}
        for part in {tokens, sum(new[:decodes])}:  # all, or all but the prompts
            for _ in range(2):  # layers
                q = torch.randn(part, 3, 576).bfloat16()
                given = (q[..., :512], q[..., 512:]) if as_parts else q
                out, lse = impl.forward_mqa(given, cache, step, layer)
                assert out.shape == (part, 3, 512) and lse is None
                for i, request in enumerate(common.req_id_per_token[:part].tolist()):
                    wanted = attend(q[i], read[request], buffer[i])
                    error = (out[i] - wanted).abs()
                    assert (error < 4e-3 + 2**-7 * wanted.abs()).all()  # an ulp of bfloat16
    # A step without its schedules, as vLLM's copies of one: the same.
    step.schedules = None
    again, _ = impl.forward_mqa(given, cache, step, layer)
    assert torch.equal(again, out)


@pytest.mark.parametrize("cache_dtype", ["auto", "fp8_ds_mla"])
def test_pages_of_other_layers_may_lie_between(sparse, cache_dtype):
    shape = sparse.SeesawSparseMLABackend.get_kv_cache_shape(6, PAGE, 1, 576, cache_dtype)
    dtype = torch.bfloat16 if cache_dtype == "auto" else torch.uint8
    caches = stand_in_vllm.interleaved(2, *shape, dtype)
    buffer = torch.randperm(90)[:TOPK].int().expand(2, -1)
    buffer = torch.cat((buffer, torch.full((2, TOPK - buffer.shape[1]), -1)), 1).int()
    builder, impl = make(sparse, cache_dtype, buffer, bound=caches[0])
    table = torch.randperm(6, dtype=torch.int32)[None]
    step = builder.build(0, common_of([2], table))
    layer, q = types.SimpleNamespace(_k_scale=None), torch.randn(2, 3, 576).bfloat16()
    packed = [torch.zeros(shape, dtype=dtype) for _ in caches]
    for cache, same in zip(caches, packed):
        new, at = torch.randn(90, 576).bfloat16(), torch.arange(90)
        slots = table[0].long()[at // PAGE] * PAGE + at % PAGE
        for pages in (cache, same):
            impl.do_kv_cache_update(
                new[:, :512], new[:, None, 512:], pages, slots, cache_dtype, torch.tensor(1.0)
            )
        assert torch.equal(cache, same)
        found, _ = impl.forward_mqa(q, cache, step, layer)
        step_of_packed = make(sparse, cache_dtype, buffer)[0].build(0, common_of([2], table))
        wanted, _ = impl.forward_mqa(q, same, step_of_packed, layer)
        assert torch.equal(found, wanted)


def test_a_graphs_schedules_are_kept(sparse):
    builder, _ = make(sparse, "auto", None)
    table = torch.zeros(3, 2, dtype=torch.int32)
    captured = builder.build_for_cudagraph_capture(common_of([1, 1], table)).schedules[2]
    assert builder.build(0, common_of([2], table)).schedules[2] is captured
    once = builder.build(0, common_of([1, 1, 1], table)).schedules[3]
    assert builder.build(0, common_of([1, 1, 1], table)).schedules[3] is not once
    assert captured.problem.h_q == 3 and captured.problem.topk == TOPK
    assert not captured.options.batch_invariant


def test_batch_invariance_is_vllms(sparse, monkeypatch):
    monkeypatch.setattr(sparse.envs, "VLLM_BATCH_INVARIANT", True)
    builder, impl = make(sparse, "fp8_ds_mla", None)
    assert builder._schedule(4).options.batch_invariant
    alone = impl._how(types.SimpleNamespace(schedules=None), 4)
    assert alone == {"kv_format": "fp8_656", "batch_invariant": True}


def test_what_vllm_asks(sparse):
    ours = sparse.SeesawSparseMLABackend
    assert ours.get_name() == "CUSTOM" and ours.get_supported_head_sizes() == [576]
    assert ours.is_mla() and ours.is_sparse() and ours.supports_batch_invariance()
    assert ours.get_impl_cls() is sparse.SeesawSparseMLAImpl
    assert ours.get_builder_cls() is sparse.SeesawSparseMLAMetadataBuilder
    assert ours.get_kv_cache_shape(9, 64, 1, 576, "fp8_ds_mla") == (9, 64, 656)
    assert ours.get_kv_cache_shape(9, 64, 1, 576, "bfloat16") == (9, 64, 576)
    for cache_dtype in ours.supported_kv_cache_dtypes:
        asked = (576, torch.bfloat16, cache_dtype, 64, True, False, True, False, None)
        assert ours.supports_combination(*asked) is None
    assert not ours.supports_compute_capability(types.SimpleNamespace(major=7, minor=5))


def test_refusals(sparse, monkeypatch):
    ours = sparse.SeesawSparseMLABackend
    asked = (576, torch.bfloat16, "auto", 64, True, False, True, False, None)
    for config, says in (
        (config_of(ranks=2), "decode context parallelism, allowed: without"),
        (config_of(hisparse_config=object()), "HiSparse"),
    ):
        monkeypatch.setattr(sparse, "get_current_vllm_config_or_none", lambda c=config: c)
        assert says in ours.supports_combination(*asked)
    monkeypatch.setattr(sparse, "get_current_vllm_config_or_none", lambda: config_of())
    assert ours.supports_combination(*asked) is None
    no = types.SimpleNamespace(kernel="sm90.x", supported=False, reason="topk = 2048")
    monkeypatch.setattr(seesaw, "supports", lambda problem, device: [no])
    assert ours.supports_combination(*asked) == "seesaw: sm90.x: topk = 2048"
    named = {"kv_cache_dtype": "auto", "topk_indices_buffer": None, "sliding_window": 4}
    with pytest.raises(NotImplementedError, match="sliding_window = 4, allowed: none"):
        sparse.SeesawSparseMLAImpl(3, 576, SCALE, 1, **named)


def test_the_choice_is_the_models(monkeypatch):
    """One name of a path, two classes: as vLLM resolves it."""
    configs = [
        (None, "SeesawMLABackend"),
        (types.SimpleNamespace(model_config=None), "SeesawMLABackend"),
        (config_of(), "SeesawSparseMLABackend"),
        (types.SimpleNamespace(model_config=types.SimpleNamespace()), "SeesawMLABackend"),
    ]
    for config, wanted in configs:
        stand_in_vllm.install(monkeypatch, config=config)
        plugin = importlib.import_module("seesaw.vllm")
        module, _, name = plugin._BACKEND.rpartition(".")
        assert getattr(importlib.import_module(module), name).__name__ == wanted
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = importlib.import_module(module).Other
