"""append and gather on PyTorch tensors: versions, tracers, lazily negated views, bytes by PyTorch's
names."""

import numpy as np
import pytest
import seesaw
import torch
from cases import SCALE
from format_model import MODELS
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

T = 20


def inputs(name="fp8_656", tokens=T, dtype=torch.bfloat16):
    model = MODELS[name]
    c_kv = torch.randn(tokens, model.d_latent).to(dtype)
    k_rope = torch.randn(tokens, model.d_rope).to(dtype) if model.d_rope else None
    slots = torch.randperm(2 * 64)[:tokens]
    slots[2] = -1
    return c_kv, k_rope, slots


def fresh(name="fp8_656", num_pages=2):
    cache = seesaw.empty_cache(name, num_pages, 64, like=torch.empty(0))
    return cache.fill_(0)


def expected(name, c_kv, k_rope, slots, rule="power_of_two"):
    """Numbers at the slots, by the model."""
    model = MODELS[name]
    parts = [part.float().numpy() for part in (c_kv, k_rope) if part is not None]
    return torch.from_numpy(model.decode(model.encode(np.concatenate(parts, 1), rule)[0]))


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_format(name, dtype):
    for num_pages in (2, 1):
        c_kv, k_rope, _ = inputs(name, dtype=dtype)
        slots = torch.randperm(num_pages * 64)[:T]
        cache = fresh(name, num_pages)
        assert seesaw.append(c_kv, k_rope, slots, cache, kv_format=name) is cache
        want = expected(name, c_kv, k_rope, slots)
        got = seesaw.gather(cache, slots=slots, kv_format=name, dtype=torch.float32)
        assert torch.equal(got, want.float())
        got = seesaw.gather(cache, slots=slots, kv_format=name)
        assert got.dtype == torch.bfloat16 and torch.equal(got, want.float().bfloat16())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float8_e4m3fn])
def test_bytes_by_other_names(dtype):
    c_kv, k_rope, slots = inputs("fp8_576")
    cache = torch.zeros(2, 64, 1, 576, dtype=torch.uint8).view(dtype)
    version = cache._version
    seesaw.append(c_kv, k_rope, slots, cache, kv_format="fp8_576")
    assert cache._version > version
    kept = slots >= 0
    want = expected("fp8_576", c_kv, k_rope, slots).float()
    got = seesaw.gather(cache, slots=slots, kv_format="fp8_576", dtype=torch.float32)
    assert torch.equal(got[kept], want[kept])
    raw = torch.empty(T, 576, dtype=torch.uint8).view(dtype)
    seesaw.gather(cache, slots=slots, kv_format="fp8_576", out=raw)
    stored = raw.view(torch.uint8)[kept]
    assert torch.equal(stored, cache.view(torch.uint8).reshape(-1, 576)[slots[kept]])
    q = torch.randn(1, 1, 4, 576)
    table, lengths = torch.tensor([[1, 0]], dtype=torch.int32), torch.tensor([128]).int()
    results = [
        seesaw.dense_decode(q, view, table, lengths, scale=SCALE, kv_format="fp8_576")
        for view in (cache, cache.view(torch.uint8))
    ]
    assert torch.equal(results[0][0], results[1][0])
    if dtype != torch.uint8:
        with pytest.raises(TypeError, match="without kv_format"):
            seesaw.dense_decode(q, cache, table, lengths, scale=SCALE)


def test_writes_are_counted():
    c_kv, k_rope, slots = inputs()
    cache, saturated = fresh(), torch.zeros(1, dtype=torch.int64)
    q_rope = torch.randn(T, 3, 64).bfloat16()
    versions = [tensor._version for tensor in (cache, saturated, q_rope, c_kv, k_rope)]
    angle = torch.rand(50, 32)
    rotation = {
        "rotary": "half_split",
        "positions": torch.arange(T),
        "cos_sin": torch.cat([angle.cos(), angle.sin()], 1),
    }
    seesaw.append(
        c_kv,
        k_rope,
        slots,
        cache,
        kv_format="fp8_656",
        saturated=saturated,
        q_rope=q_rope,
        **rotation,
    )
    now = [tensor._version for tensor in (cache, saturated, q_rope, c_kv, k_rope)]
    assert all(new > old for new, old in zip(now[:3], versions[:3]))
    assert now[3:] == versions[3:]
    out = torch.zeros(T, 576)
    seesaw.gather(cache, slots=slots, kv_format="fp8_656", out=out)
    assert out._version > 0 and cache._version == now[0]
    with torch.inference_mode():
        seesaw.append(c_kv, k_rope, slots, fresh(), kv_format="fp8_656")


def test_autograd_refuses_a_cache_that_was_overwritten():
    c_kv, k_rope, slots = inputs(dtype=torch.float32)
    cache = torch.zeros(2, 64, 576)
    weights = torch.ones(2, 64, 576, requires_grad=True)
    loss = (cache * weights).sum()
    seesaw.append(c_kv, k_rope, slots, cache)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with pytest.raises(ValueError, match="kv_cache requires a gradient"):
        seesaw.append(c_kv, k_rope, slots, torch.zeros(2, 64, 576, requires_grad=True))
    c_kv.requires_grad_()  # an input: read only
    seesaw.append(c_kv, k_rope, slots, cache)


def test_lazily_negated_views():
    c_kv, k_rope, slots = inputs(dtype=torch.float32)
    lazy = torch._neg_view(k_rope)
    assert lazy.is_neg()
    caches = [torch.zeros(2, 64, 576) for _ in range(2)]
    seesaw.append(c_kv, lazy, slots, caches[0])
    seesaw.append(c_kv, -k_rope, slots, caches[1])
    assert torch.equal(*caches)
    with pytest.raises(ValueError, match="kv_cache is a lazily negated view"):
        seesaw.append(c_kv, k_rope, slots, torch._neg_view(caches[0]))
    got = seesaw.gather(torch._neg_view(caches[0]), slots=slots)
    assert torch.equal(got, -seesaw.gather(caches[0], slots=slots))


def step(c_kv, k_rope, slots, cache, q):
    """Append, then read and attend: the order is the program's."""
    seesaw.append(c_kv, k_rope, slots, cache, kv_format="fp8_656", scales="exact")
    rows = seesaw.gather(cache, slots=slots, kv_format="fp8_656", dtype=torch.float32)
    table = torch.tensor([[0, 1]], dtype=torch.int32)
    lengths = torch.tensor([128], dtype=torch.int32)
    out, _ = seesaw.dense_decode(q, cache, table, lengths, scale=SCALE, kv_format="fp8_656")
    return rows, out


def test_traced_graphs_hold_the_operators():
    c_kv, k_rope, slots = inputs()
    q = torch.randn(1, 1, 4, 576)
    expected_cache = fresh()
    want = step(c_kv, k_rope, slots, expected_cache, q)
    for tracing_mode in ("real", "fake"):
        cache = fresh()
        graph = make_fx(step, tracing_mode=tracing_mode)(c_kv, k_rope, slots, cache, q)
        targets = " ".join(str(node.target) for node in graph.graph.nodes)
        for operator in ("seesaw.append", "seesaw.gather_out", "seesaw.dense_decode_out"):
            assert operator in targets, targets
        cache = fresh()
        got = graph(c_kv, k_rope, slots, cache, q)
        assert torch.equal(cache, expected_cache)
        assert all(torch.equal(a, b) for a, b in zip(got, want))
    cache = fresh()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    got = compiled(c_kv, k_rope, slots, cache, q)
    assert torch.equal(cache, expected_cache)
    assert all(torch.equal(a, b) for a, b in zip(got, want))


def test_traced_without_rotary_part_and_with_everything():
    keys, _, slots = inputs("indexer_132")
    c_kv, k_rope, _ = inputs("fp8_576")
    angle = torch.rand(50, 32)
    cos_sin = torch.cat([angle.cos(), angle.sin()], 1)

    def both(keys, c_kv, k_rope, slots, indexer, cache, q_rope, saturated):
        seesaw.append(keys, None, slots, indexer, kv_format="indexer_132", num_threads=1)
        seesaw.append(
            c_kv,
            k_rope,
            slots,
            cache,
            kv_format="fp8_576",
            kv_scale=torch.full((1,), 1e-3),
            rotary="interleaved",
            positions=slots.clamp(min=0) % 50,
            cos_sin=cos_sin,
            q_rope=q_rope,
            saturated=saturated,
        )

    def arguments():
        torch.manual_seed(1)
        return (
            keys,
            c_kv,
            k_rope,
            slots,
            fresh("indexer_132"),
            fresh("fp8_576"),
            torch.randn(T, 2, 64).bfloat16(),
            torch.zeros(1, dtype=torch.int64),
        )

    want, got = arguments(), arguments()
    both(*want)
    assert want[-1].item() > 0
    torch.compile(both, fullgraph=True, backend="aot_eager")(*got)
    assert all(torch.equal(a, b) for a, b in zip(got, want))


def test_fake_tensors_have_shapes_only():
    mode = FakeTensorMode()
    real = [*inputs(), fresh()]
    c_kv, k_rope, slots, cache = (mode.from_tensor(tensor) for tensor in real)
    seesaw.append(c_kv, k_rope, slots, cache, kv_format="fp8_656")
    rows = seesaw.gather(cache, slots=slots, kv_format="fp8_656")
    assert rows.shape == (T, 576) and rows.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="neither out nor rows"):
        seesaw.gather(
            cache, block_table=slots[None].int(), cu_seq_lens=slots.int(), kv_format="fp8_656"
        )


def test_merges_of_stacked_tensors():
    outs, lses = torch.randn(3, 5, 2, 8), torch.randn(3, 5, 2)
    want = seesaw.merge_states(list(outs), list(lses), lse_layout="th")
    got = seesaw.merge_states(outs, lses, lse_layout="th")
    compiled = torch.compile(
        lambda o, s: seesaw.merge_states(o, s, lse_layout="th"), fullgraph=True, backend="aot_eager"
    )(outs, lses)
    for results in (got, compiled):
        assert all(torch.equal(a, b) for a, b in zip(results, want))


def test_dense_decode_with_a_schedule_and_a_scale_while_traced():
    c_kv, k_rope, slots = inputs("fp8_576")
    cache, scale = fresh("fp8_576"), torch.tensor(0.5)
    seesaw.append(c_kv, k_rope, slots, cache, kv_format="fp8_576", kv_scale=scale)
    q = torch.randn(1, 1, 4, 576)
    table, lengths = torch.tensor([[0, 1]]).int(), torch.tensor([100]).int()
    problem = seesaw.Problem.of(q, cache, table, kv_format="fp8_576")
    schedule = seesaw.make_schedule(problem, lengths)

    def decode(q, scale, schedule):
        return seesaw.dense_decode(
            q,
            cache,
            table,
            lengths,
            scale=SCALE,
            schedule=schedule,
            kv_format="fp8_576",
            kv_scale=scale,
        )

    want = decode(q, scale, None)
    plain = seesaw.dense_decode(q, cache, table, lengths, scale=SCALE, kv_format="fp8_576")
    assert not torch.equal(plain[0], want[0])
    for given in (None, schedule):
        compiled = torch.compile(decode, fullgraph=True, backend="aot_eager")(q, scale, given)
        assert all(torch.equal(a, b) for a, b in zip(compiled, want))
