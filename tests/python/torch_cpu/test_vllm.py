"""seesaw.vllm's dense backend with stand-ins for vLLM's classes; tests/python/engines runs vLLM
itself."""

import importlib
import types

import pytest
import stand_in_vllm
import torch

SCALE = 192**-0.5


@pytest.fixture
def backend(monkeypatch):
    stand_in_vllm.install(monkeypatch)
    return importlib.import_module("seesaw.vllm.backend")


def make_builder(
    backend, dtype=torch.float32, cache_dtype="auto", heads=4, ranks=1, page=32, bound=None
):
    """bound: The cache that vLLM has bound to the layer."""
    model = types.SimpleNamespace(dtype=dtype, get_num_attention_heads=lambda parallel: heads)
    parallel = types.SimpleNamespace(decode_context_parallel_size=ranks)
    cache = types.SimpleNamespace(cache_dtype=cache_dtype)
    layers = {"layer": types.SimpleNamespace(kv_cache=bound)}
    config = types.SimpleNamespace(
        model_config=model,
        parallel_config=parallel,
        cache_config=cache,
        compilation_config=types.SimpleNamespace(static_forward_context=layers),
    )
    spec = types.SimpleNamespace(block_size=page)
    return backend.SeesawMLAMetadataBuilder(spec, ["layer"], config, torch.device("cpu"))


def make_impl(backend, heads=4, cache_dtype="auto", **changes):
    named = {
        "alibi_slopes": None,
        "sliding_window": None,
        "kv_cache_dtype": cache_dtype,
        "logits_soft_cap": None,
        **changes,
    }
    layer = types.SimpleNamespace(quant_method=stand_in_vllm.Linear())
    args = (heads, 576, SCALE, 1, *named.values(), "decoder", None)
    return backend.SeesawMLAImpl(*args, kv_b_proj=layer, kv_lora_rank=512)


def attend(q, rows, length):
    """(out [s, h, 512], lse [s, h]) of q [s, h, 576] behind rows, in double precision."""
    scores = torch.einsum("shd,nd->shn", q.double(), rows.double()) * SCALE
    s, n = scores.shape[0], scores.shape[2]
    places = torch.arange(n)[None] - (length - s) - torch.arange(s)[:, None]
    scores.masked_fill_((places > 0)[:, None], -torch.inf)
    out = torch.einsum("shn,nd->shd", scores.softmax(-1), rows[:, :512].double())
    return out, scores.logsumexp(-1)


@pytest.mark.parametrize("s_q", [1, 3])
@pytest.mark.parametrize("as_parts", [True, False])
@pytest.mark.parametrize("cache_dtype", ["auto", "float16", "fp8"])
def test_a_step_of_several_layers(backend, s_q, as_parts, cache_dtype):
    builder, impl = (
        make_builder(backend, cache_dtype=cache_dtype),
        make_impl(backend, cache_dtype=cache_dtype),
    )
    assert impl.supports_quant_query_input is False
    lengths, page, pages = [70, 5, 33], 32, 3
    table = torch.randperm(9, dtype=torch.int32).view(3, pages)
    stored = {"auto": torch.float32, "float16": torch.float16, "fp8": torch.uint8}[cache_dtype]
    k_scale = torch.tensor(0.5 if cache_dtype == "fp8" else 1.0)
    layer = types.SimpleNamespace(_k_scale=k_scale)
    for step in range(2):
        lens = torch.tensor(lengths, dtype=torch.int32) + step
        begins = torch.arange(4, dtype=torch.int32) * s_q
        made = builder._build_decode(
            block_table_tensor=table,
            seq_lens_device=lens,
            max_seq_len=int(lens.max()),
            query_start_loc_cpu=begins,
            query_start_loc_device=begins,
            num_decode_tokens=3 * s_q,
            dcp_tot_seq_lens_device=None,
            **({"max_query_len": s_q} if step else {}),  # an argument of later versions
        )
        metadata = types.SimpleNamespace(decode=made, num_decodes=3)
        for _ in range(2):
            cache = torch.zeros(9, page, 576, dtype=stored)
            seqs = [torch.randn(int(n), 576) for n in lens]
            slots = [
                table[i].long()[torch.arange(int(n)) // page] * page + torch.arange(int(n)) % page
                for i, n in enumerate(lens)
            ]
            slots = torch.cat([*slots, torch.tensor([-1, -1])])
            new = torch.cat([*seqs, torch.full((2, 576), torch.nan)])
            if cache_dtype == "fp8":
                cache = cache.view(torch.float8_e4m3fn)
            impl.do_kv_cache_update(
                new[:, :512],
                new[:, None, 512:],
                cache,
                slots,
                cache_dtype,
                k_scale,
                *((False,) if step else ()),  # an argument of later versions
            )
            q = torch.randn(3 * s_q, 4, 576)
            given = (q[..., :512].transpose(0, 1).contiguous().transpose(0, 1), q[..., 512:])
            out, lse = impl.forward_mqa(given if as_parts else q, cache, metadata, layer)
            assert out.shape == (3 * s_q, 4, 512) and lse.shape == (3 * s_q, 4)
            rounded = {
                "auto": lambda x: x,
                "float16": lambda x: x.half().float(),
                "fp8": lambda x: (x / 0.5).to(torch.float8_e4m3fn).float() * 0.5,
            }[cache_dtype]
            for i, rows in enumerate(seqs):
                here = slice(i * s_q, (i + 1) * s_q)
                wanted, wanted_lse = attend(q[here], rounded(rows), int(lens[i]))
                tolerance = 2e-3 if cache_dtype == "float16" else 3e-5
                assert (out[here] - wanted).abs().max() < tolerance
                assert (lse[here] - wanted_lse).abs().max() < tolerance


def test_schedules_stay_where_they_are(backend):
    builder = make_builder(backend)
    table = torch.zeros(2, 4, dtype=torch.int32)
    made = {}
    for s_q in (1, 2, 1, 2):
        lens = torch.tensor([9, 40], dtype=torch.int32)
        begins = torch.arange(3, dtype=torch.int32) * s_q
        decode = builder._build_decode(
            block_table_tensor=table,
            seq_lens_device=lens,
            max_seq_len=40,
            query_start_loc_cpu=begins,
            query_start_loc_device=begins,
            num_decode_tokens=2 * s_q,
        )
        (part,) = decode.parts
        assert made.setdefault(s_q, part.schedule) is part.schedule
        assert part.schedule.problem.s_q == s_q and part.begins is None
    assert make_builder(backend, ranks=2)._heads == 8


@pytest.mark.parametrize("new", [[1, 1, 5, 2], [3, 1], [2, 2, 0, 7], [1, 4, 4]])
@pytest.mark.parametrize("cache_dtype", ["auto", "fp8"])
def test_ragged_queries_are_two_calls(backend, new, cache_dtype):
    """Those that begin the batch with one number of tokens, and the rest."""
    builder = make_builder(backend, cache_dtype=cache_dtype)
    impl = make_impl(backend, cache_dtype=cache_dtype)
    page, layer = 32, types.SimpleNamespace(_k_scale=torch.tensor(0.5))
    lengths = [40 + 7 * i if n else 0 for i, n in enumerate(new)]
    table = torch.randperm(3 * len(new), dtype=torch.int32).view(-1, 3)
    for _ in range(2):  # the second with schedules that are there
        begins = torch.tensor([0, *new]).cumsum(0).int()
        made = builder._build_decode(
            block_table_tensor=table,
            seq_lens_device=torch.tensor(lengths, dtype=torch.int32),
            max_seq_len=max(lengths),
            query_start_loc_cpu=begins,
            query_start_loc_device=begins,
            num_decode_tokens=sum(new),
        )
        assert len(made.parts) == 2 and made.parts[0].begins is None
        assert made.parts[1].schedule.problem.ragged
        cache = torch.randn(3 * len(new), page, 576)
        if cache_dtype == "fp8":
            stored = (cache / 0.5).to(torch.float8_e4m3fn)
            cache, read = stored, stored.float() * 0.5
        else:
            read = cache
        q = torch.randn(sum(new), 4, 576)
        metadata = types.SimpleNamespace(decode=made, num_decodes=len(new))
        out, lse = impl.forward_mqa((q[..., :512], q[..., 512:]), cache, metadata, layer)
        assert lse.is_contiguous()
        for i, n in enumerate(new):
            here = slice(int(begins[i]), int(begins[i]) + n)
            rows = read[table[i].long()].reshape(-1, 576)[: lengths[i]]
            wanted, wanted_lse = attend(q[here], rows, lengths[i])
            assert n == 0 or (out[here] - wanted).abs().max() < 3e-5
            assert n == 0 or (lse[here] - wanted_lse).abs().max() < 3e-5
        lengths = [n + 1 if n else 0 for n in lengths]
    assert len(builder._schedules) == 2


@pytest.mark.parametrize("cache_dtype", ["auto", "fp8"])
@pytest.mark.parametrize("new", [[1, 1], [1, 3]])
def test_pages_of_other_layers_may_lie_between(backend, new, cache_dtype):
    dtype = torch.float8_e4m3fn if cache_dtype == "fp8" else torch.float32
    caches = stand_in_vllm.interleaved(3, 4, 32, 576, dtype)
    assert not caches[0].is_contiguous()
    builder = make_builder(backend, cache_dtype=cache_dtype, bound=caches[0])
    impl = make_impl(backend, cache_dtype=cache_dtype)
    layer = types.SimpleNamespace(_k_scale=torch.tensor(1.0))
    begins = torch.tensor([0, *new]).cumsum(0).int()
    table, lengths = torch.randperm(4, dtype=torch.int32).view(2, 2), [50, 33]
    made = builder._build_decode(
        block_table_tensor=table,
        seq_lens_device=torch.tensor(lengths, dtype=torch.int32),
        max_seq_len=50,
        query_start_loc_cpu=begins,
        query_start_loc_device=begins,
        num_decode_tokens=sum(new),
    )
    metadata = types.SimpleNamespace(decode=made, num_decodes=2)
    for cache in caches:
        cache.copy_(torch.randn(cache.shape).to(dtype))
        q = torch.randn(sum(new), 4, 576)
        out, _ = impl.forward_mqa(q, cache, metadata, layer)
        for i, n in enumerate(new):
            here = slice(int(begins[i]), int(begins[i]) + n)
            rows = cache[table[i].long()].float().reshape(-1, 576)[: lengths[i]]
            wanted, _ = attend(q[here], rows, lengths[i])
            assert (out[here] - wanted).abs().max() < 3e-5
    order = backend.SeesawMLABackend.get_kv_cache_stride_order
    assert order() == (0, 1, 2) and order(include_num_layers_dimension=True) == (1, 0, 2, 3)


def test_what_is_one_call(backend):
    uniform = backend.uniform_beginning
    assert uniform([1, 1, 1], 3) == (3, 1) and uniform([4, 4], 8) == (2, 4)
    # A CUDA graph's batch of four, of which two are there, with the tokens of four.
    assert uniform([2, 2, 0, 0], 8) == (4, 2)
    assert uniform([2, 2, 0, 0], 4) == (2, 2)
    assert uniform([1, 1, 3, 1], 6) == (2, 1) and uniform([0, 3], 3) == (0, 0)
    assert [backend._rounded_up(n) for n in (0, 1, 2, 3, 4, 5, 128)] == [1, 1, 2, 4, 4, 8, 128]


def test_batch_invariance_is_vllms(backend, monkeypatch):
    monkeypatch.setattr(backend.envs, "VLLM_BATCH_INVARIANT", True)
    schedule = make_builder(backend)._schedule(1, 1, 2, torch.tensor([3], dtype=torch.int32))
    assert schedule.options.batch_invariant


def test_what_vllm_asks(backend):
    ours = backend.SeesawMLABackend
    assert ours.get_name() == "CUSTOM" and ours.get_supported_head_sizes() == [576]
    assert ours.get_impl_cls() is backend.SeesawMLAImpl
    assert ours.get_builder_cls() is backend.SeesawMLAMetadataBuilder
    asked = (576, torch.bfloat16, "fp8", 64, True, False, False, False)
    assert ours.supports_combination(*asked, None) is None
    capability = types.SimpleNamespace
    assert ours.supports_compute_capability(None)
    assert ours.supports_compute_capability(capability(major=8, minor=0))
    assert not ours.supports_compute_capability(capability(major=7, minor=5))


def test_a_refusal_gives_the_librarys_reason(backend, monkeypatch):
    no = types.SimpleNamespace(kernel="sm90.x", supported=False, reason="page_size = 16")
    monkeypatch.setattr(backend.seesaw, "supports", lambda problem, device: [no])
    asked = (576, torch.bfloat16, None, 16, True, False, False, False, object())
    reason = backend.SeesawMLABackend.supports_combination(*asked)
    assert reason == "seesaw: sm90.x: page_size = 16"
    for changes in ({"sliding_window": 5}, {"logits_soft_cap": 30.0}, {"alibi_slopes": [1.0]}):
        with pytest.raises(NotImplementedError, match=f"{next(iter(changes))} = .*allowed: none"):
            make_impl(backend, **changes)


def test_the_up_projection_is_kept_on_a_cpu(backend):
    layer = make_impl(backend).kv_b_proj
    layer.quant_method.process_weights_after_loading(layer)
    assert layer.kept
