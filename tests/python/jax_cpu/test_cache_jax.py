"""append and gather on JAX arrays: eager, compiled, in a scan with the cache as its state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seesaw
import seesaw.jax
from cases import SCALE
from format_model import MODELS, rotated

T = 12


@pytest.fixture(autouse=True)
def with_int64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def inputs(name="fp8_656"):
    model, rng = MODELS[name], np.random.default_rng(0)
    c_kv = rng.standard_normal((T, model.d_latent)).astype(np.float32)
    k_rope = rng.standard_normal((T, model.d_rope)).astype(np.float32)
    slots = rng.permutation(2 * 64)[:T]
    slots[3] = -1
    return model, c_kv, k_rope, slots


def empty(name):
    return np.zeros((2, 64, MODELS[name].token), np.uint8)


@pytest.mark.parametrize("name", ["fp8_656", "fp8_576", "fp8_576_token", "int8_644", "indexer_132"])
@pytest.mark.parametrize("compiled", [False, True])
def test_agrees_with_the_model(name, compiled):
    model, c_kv, k_rope, slots = inputs(name)
    given = k_rope if model.d_rope else None
    cache = jnp.asarray(empty(name))

    def append(c_kv, given, slots, cache):
        return seesaw.append(c_kv, given, slots, cache, kv_format=name, scales="exact")

    arrays = [None if a is None else jnp.asarray(a) for a in (c_kv, given, slots)]
    new = (jax.jit(append) if compiled else append)(*arrays, cache)
    assert not np.asarray(cache).any()  # the old one is what it was
    want = np.array(empty(name))
    seesaw.append(c_kv, given, slots, want, kv_format=name, scales="exact")
    np.testing.assert_array_equal(np.asarray(new), want)
    rows = seesaw.gather(new, slots=arrays[2], kv_format=name, dtype="float32")
    parts, _, _ = model.encode(np.concatenate([c_kv, k_rope], 1), "exact")
    kept = slots >= 0
    np.testing.assert_array_equal(
        np.asarray(rows)[kept], model.decode(parts).astype(np.float32)[kept]
    )
    assert not np.asarray(rows)[~kept].any()
    assert seesaw.gather(new, slots=arrays[2], kv_format=name).dtype == jnp.bfloat16


def test_everything_that_is_written_comes_back():
    model, c_kv, k_rope, slots = inputs("fp8_576")
    rng = np.random.default_rng(1)
    q_rope = rng.standard_normal((T, 2, 64)).astype(np.float32)
    angle = rng.random((40, 32))
    cos_sin = np.concatenate([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    positions = rng.integers(0, 40, T)
    more = {
        "positions": jnp.asarray(positions),
        "cos_sin": jnp.asarray(cos_sin),
        "q_rope": jnp.asarray(q_rope),
        "saturated": jnp.zeros(1, jnp.int64),
        "kv_scale": jnp.full((1,), 1e-3, jnp.float32),
    }
    arrays = [jnp.asarray(array) for array in (c_kv, k_rope, slots, empty("fp8_576"))]
    settings = {"kv_format": "fp8_576", "rotary": "half_split"}
    got = seesaw.jax.append(*arrays, **more, **settings)
    want_q = rotated(q_rope, cos_sin, positions, "half_split")
    np.testing.assert_array_equal(np.asarray(got.q_rope), want_q)
    assert got.saturated[0] > 0 and np.asarray(got.kv_cache).any()
    with pytest.raises(TypeError, match="seesaw.jax.append, which returns all"):
        seesaw.append(*arrays, **more, **settings)


def test_a_decoding_loop_in_a_scan():
    """The cache is the scan's state; each step appends a token and attends to all so far."""
    _, c_kv, k_rope, _ = inputs()
    table = jnp.array([[1, 0]], jnp.int32)
    q = jnp.asarray(np.random.default_rng(2).standard_normal((T, 1, 1, 4, 576)), jnp.float32)

    def step(cache, given):
        i, c, k, query = given
        slot = (64 + i)[None].astype(jnp.int64)
        cache = seesaw.append(c[None], k[None], slot, cache, kv_format="fp8_656")
        out, _ = seesaw.dense_decode(
            query, cache, table, (i + 1)[None].astype(jnp.int32), scale=SCALE, kv_format="fp8_656"
        )
        return cache, out

    given = (jnp.arange(T), jnp.asarray(c_kv), jnp.asarray(k_rope), q)
    run = jax.jit(lambda cache, given: jax.lax.scan(step, cache, given), donate_argnums=0)
    cache, outs = run(jnp.asarray(empty("fp8_656")), given)
    want = empty("fp8_656")
    for i in range(T):
        seesaw.append(
            c_kv[i : i + 1], k_rope[i : i + 1], np.array([64 + i]), want, kv_format="fp8_656"
        )
        out, _ = seesaw.dense_decode(
            np.asarray(q[i]),
            want,
            np.asarray(table),
            np.array([i + 1], np.int32),
            scale=SCALE,
            kv_format="fp8_656",
        )
        np.testing.assert_array_equal(np.asarray(outs[i]), out)
    np.testing.assert_array_equal(np.asarray(cache), want)


def test_gather_by_pages_and_mistakes():
    _, c_kv, k_rope, _ = inputs()
    arrays = [jnp.asarray(array) for array in (c_kv, k_rope, np.arange(T), empty("fp8_656"))]
    cache = seesaw.append(*arrays, kv_format="fp8_656")
    pages = {
        "block_table": jnp.array([[0, 1]], jnp.int32),
        "cu_seq_lens": jnp.array([0, 5], jnp.int32),
        "starts": jnp.array([2], jnp.int32),
        "kv_format": "fp8_656",
        "dtype": "float32",
    }
    with pytest.raises(ValueError, match="neither out nor rows"):
        seesaw.gather(cache, **pages)
    rows = seesaw.gather(cache, rows=5, **pages)
    same = {"kv_format": "fp8_656", "dtype": "float32"}
    want = seesaw.gather(np.asarray(cache), slots=np.arange(2, 7), **same)
    np.testing.assert_array_equal(np.asarray(rows), want)
    with pytest.raises(ValueError, match="immutable"):
        seesaw.gather(cache, slots=jnp.arange(3), kv_format="fp8_656", out=rows)
    with pytest.raises(TypeError, match="kv_cache is a numpy.ndarray"):
        seesaw.append(*arrays[:3], np.asarray(cache), kv_format="fp8_656")
    with pytest.raises(TypeError, match="slot_mapping has dtype int32"):
        seesaw.append(*arrays[:2], jnp.arange(T, dtype=jnp.int32), arrays[3], kv_format="fp8_656")
