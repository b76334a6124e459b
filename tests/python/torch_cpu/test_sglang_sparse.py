"""seesaw.sglang's backend for sparse attention, with stand-ins for SGLang's classes."""

import types

import pytest
import seesaw
import stand_in_sglang
import torch
from stand_in_sglang import D_QK

D_V, SCALE = 512, 192**-0.5
TOPK = 40


@pytest.fixture
def sglang(monkeypatch):
    return stand_in_sglang.install(monkeypatch)


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
