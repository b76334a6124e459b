"""append, gather and dense_decode over caches in every format, against format_model: the same
bytes, the same numbers."""

import sys

import numpy as np
import pytest
import seesaw
from cases import SCALE, numpy_dtype
from format_model import MODELS, Pool, rotated

NAMES = sorted(MODELS)
ATTENDED = [name for name in NAMES if name != "indexer_132"]
KERNELS = [None, "reference"]


def kernel_of(operation, kernel):
    return None if kernel is None else f"{kernel}.{operation}"


def tokens_of(model, count, seed=0):
    """Latents and rotary keys as models have them: some of them large, all of several scales."""
    rng = np.random.default_rng(seed)
    c_kv = rng.standard_normal((count, model.d_latent)) * 10.0 ** rng.integers(-3, 3, (count, 1))
    c_kv[:, :16] *= 30  # one group louder than the rest
    k_rope = rng.standard_normal((count, model.d_rope)) * 8
    return c_kv.astype(np.float32), k_rope.astype(np.float32)


def append(model, tokens, slots, view, **more):
    c_kv, k_rope = tokens
    given = k_rope if model.d_rope else None
    return seesaw.append(c_kv, given, slots, view, kv_format=model.name, **more)


def all_numbers(tokens):
    return np.concatenate(tokens, axis=1)


def scale_array(value):
    return np.array([value], np.float32)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("page_size", [1, 16, 61, 64, 256])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bytes_and_the_same_numbers(name, page_size, kernel):
    model = MODELS[name]
    num_pages = 3 if page_size > 1 else 150
    rng = np.random.default_rng(page_size)
    for extra_page, extra_row in ((0, 0), (32, 16), (5, 3)):
        pool = Pool(model, num_pages, page_size, extra_page, extra_row)
        slots = rng.permutation(num_pages * page_size)[:130]
        slots[rng.random(len(slots)) < 0.2] = -1
        tokens = tokens_of(model, len(slots), page_size)
        kv_scale = scale_array(0.37) if model.per_tensor else None
        parts, written, _ = model.encode(all_numbers(tokens), kv_scale=0.37)
        expected = Pool(model, num_pages, page_size, extra_page, extra_row)
        expected.put(slots, parts, written)
        chosen = {"kv_scale": kv_scale, "kernel": kernel_of("append", kernel)}
        got = append(model, tokens, slots, pool.view, **chosen)
        assert got is pool.view
        np.testing.assert_array_equal(pool.pages, expected.pages)  # nothing else was touched

        read = np.append(slots, [-1, num_pages * page_size, 2**40])
        chosen = {"kv_scale": kv_scale, "kernel": kernel_of("gather", kernel), "kv_format": name}
        there = (read >= 0) & (read < num_pages * page_size)
        stored = expected.get(read[there])
        raw = seesaw.gather(pool.view, slots=read, dtype="raw", **chosen)
        np.testing.assert_array_equal(raw[there], stored)
        assert not raw[~there].any()
        got = seesaw.gather(pool.view, slots=read, dtype="float32", **chosen)
        want = model.decode(stored, 0.37).astype(np.float32)
        np.testing.assert_array_equal(got[there], want)
        assert not got[~there].any()
        half = seesaw.gather(pool.view, slots=read, dtype="float16", **chosen)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(half[there], want.astype(np.float16))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", [name for name in NAMES if MODELS[name].scales])
@pytest.mark.parametrize("rule", ["power_of_two", "exact", "given"])
def test_scales(name, rule, kernel):
    """Also with scales that are no powers of two, and with which values saturate."""
    model = MODELS[name]
    pool, expected = Pool(model, 2, 64), Pool(model, 2, 64)
    tokens, slots = tokens_of(model, 100, 5), np.arange(100)[::-1].copy()
    given = None
    if rule == "given":
        rng = np.random.default_rng(6)
        given = (0.003 * 7 ** rng.standard_normal((100, model.scales[1]))).astype(np.float32)
    parts, written, too_large = model.encode(all_numbers(tokens), rule, given)
    expected.put(slots, parts, written)
    saturated = np.array([7], np.int64)
    append(
        model,
        tokens,
        slots,
        pool.view,
        scales=rule if given is None else given,
        saturated=saturated,
        kernel=kernel_of("append", kernel),
    )
    np.testing.assert_array_equal(pool.pages, expected.pages)
    assert saturated[0] == 7 + too_large
    # e4m3 scales end at 448: what is larger than six of that saturates by any rule.
    assert (too_large > 0) == (rule == "given" or name == "fp4_288")
    got = seesaw.gather(pool.view, slots=slots, kv_format=name, dtype="float32")
    np.testing.assert_array_equal(got, model.decode(parts).astype(np.float32))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_zeros_of_infinities_and_of_nan(name, kernel):
    model = MODELS[name]
    pool, expected = Pool(model, 1, 16), Pool(model, 1, 16)
    c_kv, k_rope = tokens_of(model, 8, 3)
    c_kv[0] = 0
    c_kv[1] = -0.0
    c_kv[2] *= np.float32(2.0**-140)  # below every normal number
    c_kv[3, 5] = np.inf
    c_kv[4, model.d_latent - 1] = -np.inf
    c_kv[5] = np.float32(3e38)
    c_kv[6, 17] = np.nan
    slots = np.arange(8)
    parts, written, too_large = model.encode(all_numbers((c_kv, k_rope)))
    expected.put(slots, parts, written)
    saturated = np.zeros(1, np.int64)
    chosen = {"saturated": saturated, "kernel": kernel_of("append", kernel)}
    append(model, (c_kv, k_rope), slots, pool.view, **chosen)
    clean = np.delete(slots, 6)
    np.testing.assert_array_equal(pool.get(clean), expected.get(clean))
    assert saturated[0] == too_large
    got = seesaw.gather(pool.view, slots=slots, kv_format=name, dtype="float32")
    want = model.decode(parts).astype(np.float32)
    np.testing.assert_array_equal(got[clean], want[clean])
    np.testing.assert_array_equal(np.isnan(got[6]), np.isnan(want[6]))
    assert np.isnan(got[6, 17])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_caches_of_float_dtypes(dtype, stored):
    if "bfloat16" in (dtype, stored):
        pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(1)
    for d_latent, d_rope in ((512, 64), (33, 0), (7, 2)):
        c_kv = rng.standard_normal((40, d_latent)).astype(numpy_dtype(dtype))
        k_rope = rng.standard_normal((40, d_rope)).astype(numpy_dtype(dtype)) if d_rope else None
        memory = np.full((5, 61, d_latent + d_rope + 3), 9, numpy_dtype(stored))
        view = memory[:, :, : d_latent + d_rope]
        slots = rng.permutation(5 * 61)[:40]
        slots[3] = -7
        expected = memory.copy()
        both = c_kv if k_rope is None else np.concatenate([c_kv, k_rope], axis=1)
        kept = slots >= 0
        expected[slots[kept] // 61, slots[kept] % 61, : d_latent + d_rope] = both[kept]
        seesaw.append(c_kv, k_rope, slots, view)
        assert memory.tobytes() == expected.tobytes()
        got = seesaw.gather(view, slots=slots)
        assert got.dtype == memory.dtype
        assert got[kept].tobytes() == both[kept].astype(numpy_dtype(stored)).tobytes()
        got = seesaw.gather(view, slots=slots.astype(np.int32), dtype="float32")
        np.testing.assert_array_equal(
            got[kept], both[kept].astype(numpy_dtype(stored)).astype(np.float32)
        )


def paged(rng, lengths, page_size):
    """A block table in random order, and the slots of each sequence's tokens."""
    pages = [-(-length // page_size) for length in lengths]
    order = iter(rng.permutation(sum(pages) + 2))
    table = np.full((len(lengths), max(pages) + 1), -(2**30), np.int32)
    slots = []
    for i, length in enumerate(lengths):
        table[i, : pages[i]] = [next(order) for _ in range(pages[i])]
        token = np.arange(length)
        slots.append(table[i, token // page_size].astype(np.int64) * page_size + token % page_size)
    return table, slots, sum(pages) + 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", NAMES)
def test_gather_by_pages(name, kernel):
    model, lengths = MODELS[name], [70, 0, 3, 130]
    table, slots, num_pages = paged(np.random.default_rng(0), lengths, 64)
    pool = Pool(model, num_pages, 64)
    append(model, tokens_of(model, 203), np.concatenate(slots), pool.view)
    starts = np.array([5, 0, 1, 60], np.int32)
    wanted = np.concatenate([slot[start:] for slot, start in zip(slots, starts)])
    counts = np.array(lengths) - starts
    cu_seq_lens = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    pages = {"block_table": table, "cu_seq_lens": cu_seq_lens, "kv_format": name}
    chosen = {**pages, "kernel": kernel_of("gather", kernel)}
    got = seesaw.gather(pool.view, starts=starts, dtype="float32", **chosen)
    want = model.decode(pool.get(wanted)).astype(np.float32)
    np.testing.assert_array_equal(got, want)
    out = np.full((len(wanted) + 3, model.columns), 77, np.float32)  # more rows than there are
    seesaw.gather(pool.view, starts=starts, out=out, **chosen)
    np.testing.assert_array_equal(out[:-3], want)
    assert (out[-3:] == 77).all()
    raw = seesaw.gather(pool.view, starts=starts, dtype="raw", rows=len(wanted), **chosen)
    np.testing.assert_array_equal(raw, pool.get(wanted))
    from_the_start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    got = seesaw.gather(pool.view, dtype="float32", **{**chosen, "cu_seq_lens": from_the_start})
    np.testing.assert_array_equal(got, model.decode(pool.get(np.concatenate(slots))))


@pytest.mark.parametrize("rotary", ["interleaved", "half_split"])
@pytest.mark.parametrize("cos_sin_dtype", ["float32", "float16"])
def test_rotary_embedding(rotary, cos_sin_dtype):
    rng = np.random.default_rng(2)
    c_kv = rng.standard_normal((20, 512)).astype(np.float32)
    k_rope = rng.standard_normal((20, 64)).astype(np.float32)
    q_rope = rng.standard_normal((20, 5, 64)).astype(np.float32)
    angle = rng.random((300, 32)) * 6
    cos_sin = np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(cos_sin_dtype)
    positions = rng.integers(0, 300, 20)
    slots = rng.permutation(64)[:20]
    slots[4] = -1
    cache = np.zeros((1, 64, 576), np.float32)
    want_k = rotated(k_rope, cos_sin, positions, rotary)
    want_q = rotated(q_rope, cos_sin, positions, rotary)
    given = {"rotary": rotary, "positions": positions, "cos_sin": cos_sin}
    before = k_rope.copy()
    seesaw.append(c_kv, k_rope, slots, cache, q_rope=q_rope, **given)
    kept = slots >= 0
    np.testing.assert_array_equal(cache[0, slots[kept], 512:], want_k[kept])
    np.testing.assert_array_equal(cache[0, slots[kept], :512], c_kv[kept])
    np.testing.assert_array_equal(q_rope, want_q)  # skipped tokens, too
    assert (k_rope == before).all()
    for name in ATTENDED:  # rotation, then the format's own rounding
        model = MODELS[name]
        pool = Pool(model, 1, 64)
        seesaw.append(c_kv[:, : model.d_latent], k_rope, slots, pool.view, kv_format=name, **given)
        values = np.concatenate([c_kv[:, : model.d_latent], want_k], axis=1)
        expected = Pool(model, 1, 64)
        expected.put(slots, *model.encode(values)[:2])
        np.testing.assert_array_equal(pool.pages, expected.pages)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ATTENDED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dense_decode_from_what_append_wrote(name, dtype, kernel):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    model, lengths = MODELS[name], [70, 1, 0, 200]
    rng = np.random.default_rng(4)
    table, slots, num_pages = paged(rng, lengths, 64)
    pool = Pool(model, num_pages, 64)
    c_kv = rng.standard_normal((271, model.d_latent)).astype(np.float32)
    k_rope = rng.standard_normal((271, model.d_rope)).astype(np.float32)
    kv_scale = scale_array(0.02) if model.per_tensor else None
    append(model, (c_kv, k_rope), np.concatenate(slots), pool.view, kv_scale=kv_scale)
    q = rng.standard_normal((4, 1, 8, model.columns)).astype(numpy_dtype(dtype))
    lens = np.array(lengths, np.int32)
    more = {"kv_format": name, "kv_scale": kv_scale, "scale": SCALE}
    more["kernel"] = kernel_of("dense_decode", kernel)
    for view in (pool.view, pool.view[:, :, None, :]):
        out, lse = seesaw.dense_decode(q, view, table, lens, **more)
        for i, length in enumerate(lengths):
            if length == 0:
                assert not out[i].any() and (lse[i] == -np.inf).all()
                continue
            keys = model.decode(pool.get(slots[i]), 0.02)
            scores = SCALE * (q[i, 0].astype(np.float64) @ keys.T)
            top = scores.max(axis=1, keepdims=True)
            weights = np.exp(scores - top)
            total = weights.sum(axis=1, keepdims=True)
            want = weights @ keys[:, :512] / total
            unit = 2.0**-7 if dtype == "bfloat16" else 1e-5
            np.testing.assert_allclose(
                out[i, 0].astype(np.float64), want, rtol=unit, atol=unit * np.abs(keys).max()
            )
            np.testing.assert_allclose(lse[i, :, 0], (top + np.log(total))[:, 0], rtol=1e-5)
    problem = seesaw.Problem.of(q, pool.view, table, kv_format=name)
    schedule = seesaw.make_schedule(problem, lens)
    again = seesaw.dense_decode(
        q, pool.view, table, lens, scale=SCALE, schedule=schedule, kv_scale=kv_scale, kv_format=name
    )
    np.testing.assert_allclose(again[1], lse, rtol=1e-5)


def test_numbers_of_bytes_are_bfloat16_unless_said_otherwise(monkeypatch):
    cache = np.zeros((1, 64, 656), np.uint8)
    given = {"slots": np.arange(3), "kv_format": "fp8_656"}
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ml_dtypes", None)
        with pytest.raises(TypeError, match="an array of bfloat16 to be made, allowed: float32"):
            seesaw.gather(cache, **given)
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert seesaw.gather(cache, **given).dtype == ml_dtypes.bfloat16
    assert seesaw.gather(cache, dtype=ml_dtypes.bfloat16, **given).dtype == ml_dtypes.bfloat16
    assert seesaw.gather(cache, dtype=np.float16, **given).dtype == np.float16
    assert seesaw.gather(cache, dtype=np.dtype("float32"), **given).dtype == np.float32


def test_bytes_by_other_names():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    model = MODELS["fp8_576"]
    tokens, slots = tokens_of(model, 30), np.arange(30)
    by_name = {}
    for dtype in (np.uint8, np.int8, ml_dtypes.float8_e4m3fn):
        memory = np.zeros((1, 64, 576), dtype)
        append(model, tokens, slots, memory)
        by_name[np.dtype(dtype).name] = memory.tobytes()
        got = seesaw.gather(memory, slots=slots, kv_format="fp8_576", dtype="float32")
        want = model.decode(model.encode(all_numbers(tokens))[0])
        np.testing.assert_array_equal(got, want)
        raw = np.empty((30, 576), dtype)
        seesaw.gather(memory, slots=slots, kv_format="fp8_576", out=raw)
        assert raw.tobytes() == memory[0, :30].tobytes()
    assert len(set(by_name.values())) == 1


def test_empty_calls_and_one_dimension_more():
    model = MODELS["fp8_656"]
    pool = Pool(model, 2, 64)
    before = pool.pages.copy()
    tokens = tokens_of(model, 0)
    append(model, tokens, np.zeros(0, np.int64), pool.view)
    np.testing.assert_array_equal(pool.pages, before)
    none = seesaw.gather(
        pool.view, slots=np.zeros(0, np.int64), kv_format="fp8_656", dtype="float32"
    )
    assert none.shape == (0, 576)
    flat, headed = Pool(model, 2, 64), Pool(model, 2, 64)
    append(model, tokens_of(model, 9), np.arange(9), flat.view)
    append(model, tokens_of(model, 9), np.arange(9), headed.view[:, :, None])
    np.testing.assert_array_equal(flat.pages, headed.pages)
    got = [
        seesaw.gather(view, slots=np.arange(9), kv_format="fp8_656", dtype="float32")
        for view in (flat.view, flat.view[:, :, None])
    ]
    np.testing.assert_array_equal(*got)


def test_formats_are_the_published_ones():
    assert set(seesaw.formats()) == set(MODELS)
    for name, known in seesaw.formats().items():
        model = MODELS[name]
        assert (known.d_latent, known.d_rope) == (model.d_latent, model.d_rope)
        assert (known.row_bytes, known.tail_bytes) == (model.row, model.tail)
        assert known.columns == model.columns and known.token_bytes == model.token
        assert known.scales == (model.scales[1] if model.scales else 0)
        assert known.tensor_scale == model.per_tensor
        for page_size in (1, 61, 64, 256):
            assert known.page_bytes(page_size) == model.page_bytes(page_size)
        cache = seesaw.empty_cache(name, 3, 61, like=np.zeros(1))
        assert cache.shape == (3, 61, model.token) and cache.strides[0] == model.page_bytes(61)
        tokens = tokens_of(model, 20)
        append(model, tokens, np.arange(100, 120), cache)
        got = seesaw.gather(cache, slots=np.arange(100, 120), kv_format=name, dtype="float32")
        want = model.decode(model.encode(all_numbers(tokens))[0]).astype(np.float32)
        np.testing.assert_array_equal(got, want)
    assert seesaw.formats()["fp8_584"].page_bytes(64) == 37440
    assert seesaw.formats()["fp8_584"].page_bytes(256) == 149760
    with pytest.raises(ValueError, match="kv_format = \"?'?fp8_655"):
        seesaw.empty_cache("fp8_655", 1, 64, like=np.zeros(1))
    with pytest.raises(ValueError, match="allowed: a format of bytes"):
        seesaw.empty_cache("bfloat16", 1, 64, like=np.zeros(1))
