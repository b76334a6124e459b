"""seesaw.sglang's dense backend, with a stand-in runner and pool."""

import types

import pytest
import stand_in_sglang
import torch
from stand_in_sglang import D_QK, Mode, Pool, Prefill

D_V, HEADS, SCALE = 512, 4, 192**-0.5


@pytest.fixture
def sglang(monkeypatch):
    return stand_in_sglang.install(monkeypatch)


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
