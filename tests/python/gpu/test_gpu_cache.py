"""append, gather and dense_decode over caches in every format on a GPU: the bytes and numbers of
format_model, streams, CUDA graphs."""

import numpy as np
import pytest
import seesaw
import torch
from format_model import MODELS, Pool, rotated
from gpu.grid import DEVICE, SCALE

NAMES = sorted(MODELS)
ATTENDED = [name for name in NAMES if name != "indexer_132"]


class GpuPool:
    """The memory of a `Pool` on the GPU, and its view there."""

    def __init__(self, *arguments, **named):
        self.host = Pool(*arguments, **named)
        self.pages = torch.from_numpy(self.host.pages).to(DEVICE)
        view = self.host.view
        begin = view.ctypes.data - self.host.pages.ctypes.data
        self.view = self.pages.reshape(-1).as_strided(view.shape, view.strides, begin)


def tokens_of(model, count, seed=0, dtype=torch.float32):
    generator = torch.Generator(DEVICE).manual_seed(seed)
    draw = {"generator": generator, "device": DEVICE}
    c_kv = torch.randn(count, model.d_latent, **draw)
    c_kv *= 10.0 ** torch.randint(-3, 3, (count, 1), **draw)
    k_rope = 8 * torch.randn(count, model.d_rope, **draw)
    return c_kv.to(dtype), k_rope.to(dtype) if model.d_rope else None


def numbers(c_kv, k_rope):
    parts = [part.float().cpu().numpy() for part in (c_kv, k_rope) if part is not None]
    return np.concatenate(parts, axis=1)


def on_device(array):
    return torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("page_size", [1, 16, 61, 64, 256])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_and_the_same_numbers(name, page_size, dtype):
    model = MODELS[name]
    num_pages = 3 if page_size > 1 else 150
    rng = np.random.default_rng(page_size)
    for extra_page, extra_row in ((0, 0), (32, 16), (5, 3)):
        pool = GpuPool(model, num_pages, page_size, extra_page, extra_row)
        expected = Pool(model, num_pages, page_size, extra_page, extra_row)
        slots = rng.permutation(num_pages * page_size)[:130]
        slots[rng.random(len(slots)) < 0.2] = -1
        tokens = tokens_of(model, len(slots), page_size, dtype)
        kv_scale = torch.full((1,), 0.37, device=DEVICE) if model.per_tensor else None
        parts, written, _ = model.encode(numbers(*tokens), kv_scale=0.37)
        expected.put(slots, parts, written)
        seesaw.append(*tokens, on_device(slots), pool.view, kv_format=name, kv_scale=kv_scale)
        np.testing.assert_array_equal(pool.pages.cpu().numpy(), expected.pages)

        read = np.append(slots, [-1, num_pages * page_size, 2**40])
        there = (read >= 0) & (read < num_pages * page_size)
        stored = expected.get(read[there])
        chosen = {"slots": on_device(read), "kv_format": name, "kv_scale": kv_scale}
        raw = seesaw.gather(pool.view, dtype="raw", **chosen).cpu().numpy()
        np.testing.assert_array_equal(raw[there], stored)
        got = seesaw.gather(pool.view, dtype="float32", **chosen).cpu().numpy()
        want = model.decode(stored, 0.37).astype(np.float32)
        np.testing.assert_array_equal(got[there], want)
        assert not raw[~there].any() and not got[~there].any()
        half = seesaw.gather(pool.view, **chosen)
        assert torch.equal(half.cpu()[torch.from_numpy(there)], torch.from_numpy(want).bfloat16())


@pytest.mark.parametrize("name", [name for name in NAMES if MODELS[name].scales])
@pytest.mark.parametrize("rule", ["power_of_two", "exact", "given"])
def test_scales_and_what_saturates(name, rule):
    model = MODELS[name]
    pool, expected = GpuPool(model, 2, 64), Pool(model, 2, 64)
    tokens, slots = tokens_of(model, 100, 5), np.arange(100)[::-1].copy()
    given = None
    if rule == "given":
        rng = np.random.default_rng(6)
        given = (0.003 * 7 ** rng.standard_normal((100, model.scales[1]))).astype(np.float32)
    parts, written, too_large = model.encode(numbers(*tokens), rule, given)
    expected.put(slots, parts, written)
    saturated = torch.full((1,), 7, dtype=torch.int64, device=DEVICE)
    scales = rule if given is None else on_device(given)
    seesaw.append(
        *tokens, on_device(slots), pool.view, kv_format=name, scales=scales, saturated=saturated
    )
    np.testing.assert_array_equal(pool.pages.cpu().numpy(), expected.pages)
    assert saturated.item() == 7 + too_large


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_zeros_of_infinities_and_of_nan(name):
    model = MODELS[name]
    pool, expected = GpuPool(model, 1, 16), Pool(model, 1, 16)
    c_kv, k_rope = tokens_of(model, 8, 3)
    c_kv[0], c_kv[1] = 0, -0.0
    c_kv[2] *= 2.0**-140
    c_kv[3, 5], c_kv[4, model.d_latent - 1] = np.inf, -np.inf
    c_kv[5], c_kv[6, 17] = 3e38, np.nan
    parts, written, _ = model.encode(numbers(c_kv, k_rope))
    expected.put(np.arange(8), parts, written)
    slots = torch.arange(8, device=DEVICE)
    seesaw.append(c_kv, k_rope, slots, pool.view, kv_format=name)
    pool.host.pages[:] = pool.pages.cpu().numpy()
    clean = np.delete(np.arange(8), 6)
    np.testing.assert_array_equal(pool.host.get(clean), expected.get(clean))
    got = seesaw.gather(pool.view, slots=slots, kv_format=name, dtype="float32").cpu().numpy()
    want = model.decode(parts).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got[6]), np.isnan(want[6]))


@pytest.mark.parametrize("rotary", ["interleaved", "half_split"])
def test_rotary_embedding(rotary):
    model = MODELS["fp8_656"]
    c_kv, k_rope = tokens_of(model, 20, dtype=torch.bfloat16)
    q_rope = torch.randn(20, 128, 64, device=DEVICE).bfloat16()
    angle = torch.rand(300, 32, device=DEVICE) * 6
    cos_sin = torch.cat([angle.cos(), angle.sin()], 1)
    positions = torch.randint(0, 300, (20,), device=DEVICE)
    turn = (cos_sin.cpu().numpy(), positions.cpu().numpy(), rotary)
    want_q = rotated(q_rope.float().cpu().numpy(), *turn)
    want_k = rotated(k_rope.float().cpu().numpy(), *turn)
    cache = torch.zeros(1, 64, 576, dtype=torch.bfloat16, device=DEVICE)
    slots = torch.arange(20, device=DEVICE)
    given = {"rotary": rotary, "positions": positions, "cos_sin": cos_sin}
    seesaw.append(c_kv, k_rope, slots, cache, q_rope=q_rope, **given)
    assert torch.equal(cache[0, :20, 512:].cpu(), torch.from_numpy(want_k).bfloat16())
    assert torch.equal(q_rope.cpu(), torch.from_numpy(want_q).bfloat16())


@pytest.mark.parametrize("name", ["bfloat16", *ATTENDED])
def test_a_graph_of_append_dense_decode_and_gather(name):
    """Captured once, replayed with other tokens, slots and lengths; held against the same calls
    made one by one, and dense_decode where it runs against float64 on the gathered numbers."""
    model = MODELS.get(name, MODELS["fp8_656"])
    c_kv, k_rope = tokens_of(model, 4, dtype=torch.bfloat16)
    given = {} if name == "bfloat16" else {"kv_format": name}
    if name == "bfloat16":
        cache = torch.zeros(8, 64, 576, dtype=torch.bfloat16, device=DEVICE)
    else:
        cache = seesaw.empty_cache(name, 8, 64, like=c_kv)
        cache.zero_()
    slots = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    table = torch.arange(8, dtype=torch.int32, device=DEVICE).reshape(4, 2)
    lengths = torch.ones(4, dtype=torch.int32, device=DEVICE)
    rows = torch.zeros(4, model.columns, dtype=torch.bfloat16, device=DEVICE)
    q = torch.randn(4, 1, 16, model.columns, device=DEVICE).bfloat16()
    problem = seesaw.Problem.of(q, cache, table, **given)
    decodes = any(answer.supported for answer in seesaw.supports(problem, device=DEVICE))
    results = []

    def step():
        seesaw.append(c_kv, k_rope, slots, cache, **given)
        if decodes:
            results[:] = seesaw.dense_decode(q, cache, table, lengths, scale=SCALE, **given)
        seesaw.gather(cache, slots=slots, out=rows, **given)

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    cache.zero_()
    other = cache.clone() if name == "bfloat16" else None
    for i in range(70):
        fresh = tokens_of(model, 4, i, torch.bfloat16)
        c_kv.copy_(fresh[0])
        k_rope.copy_(fresh[1])
        slots.copy_(torch.arange(4) * 128 + i)
        lengths.fill_(i + 1)
        graph.replay()
        if other is not None:
            seesaw.append(c_kv, k_rope, slots, other)
            assert torch.equal(cache, other)
        want = seesaw.gather(cache, slots=slots, **given)
        assert torch.equal(rows, want)
        if decodes and i % 23 == 0:
            keys = seesaw.gather(
                cache,
                block_table=table,
                cu_seq_lens=torch.arange(5, dtype=torch.int32, device=DEVICE) * (i + 1),
                rows=4 * (i + 1),
                dtype="float32",
                **given,
            )
            keys = keys.double().reshape(4, i + 1, -1)
            scores = SCALE * q[:, 0].double() @ keys.transpose(1, 2)
            out = torch.softmax(scores, -1) @ keys[..., :512]
            error = (results[0][:, 0].double() - out).abs().max()
            assert error <= 0.02 * keys.abs().max(), error


def test_inputs_made_on_a_second_stream():
    model = MODELS["fp8_656"]
    tokens = tokens_of(model, 50, dtype=torch.bfloat16)
    pool, late = GpuPool(model, 2, 64, poison=0), torch.zeros_like(tokens[0])
    slots, side = torch.arange(50, device=DEVICE), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        late.copy_(tokens[0])
        seesaw.append(late, tokens[1], slots, pool.view, kv_format="fp8_656")
        got = seesaw.gather(pool.view, slots=slots, kv_format="fp8_656", dtype="float32")
    side.synchronize()
    want = model.decode(model.encode(numbers(*tokens))[0])
    np.testing.assert_array_equal(got.cpu().numpy(), want.astype(np.float32))


def test_wrong_devices_and_data_are_refused():
    model = MODELS["fp8_656"]
    c_kv, k_rope = tokens_of(model, 4)
    pool, slots = GpuPool(model, 2, 64), torch.arange(4, device=DEVICE)
    before = pool.pages.clone()
    with pytest.raises(ValueError, match="slot_mapping is on cpu"):
        seesaw.append(c_kv, k_rope, slots.cpu(), pool.view, kv_format="fp8_656")
    with pytest.raises(ValueError, match="is on cpu"):
        seesaw.gather(pool.view, slots=slots.cpu(), kv_format="fp8_656")
    with pytest.raises(ValueError, match="neither out nor rows with cu_seq_lens on a device"):
        pages = {"block_table": slots[None].int(), "cu_seq_lens": slots[:2].int()}
        seesaw.gather(pool.view, kv_format="fp8_656", **pages)
    slots[3] = 128  # behind the cache: skipped
    seesaw.append(c_kv[3:], k_rope[3:], slots[3:], pool.view, kv_format="fp8_656")
    assert torch.equal(pool.pages, before)
