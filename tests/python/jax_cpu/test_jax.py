"""JAX arrays: eager and compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seesaw
from cases import SCALE, Case, assert_close


def as_jax(case):
    return [jnp.asarray(array) for array in case.arrays]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_eager_agrees_with_float64(dtype):
    case = Case([70, 0, 130], s_q=2, causal=True, dtype=dtype)
    out, lse = seesaw.dense_decode(*as_jax(case), scale=SCALE, causal=True)
    assert out.dtype == jnp.dtype(dtype)
    assert_close((out, lse), case.expected())


def test_inside_jit():
    case = Case([70, 3])

    @jax.jit
    def double(q, *rest):
        out, lse = seesaw.dense_decode(q * 1, *rest, scale=SCALE)
        return out * 2, lse

    out, lse = double(*as_jax(case))
    assert_close((np.asarray(out) / 2, lse), case.expected())


def test_lse_of_tokens_first():
    arrays = as_jax(Case([70, 3], s_q=2))
    want = seesaw.dense_decode(*arrays, scale=SCALE)

    @jax.jit
    def compiled(*arrays):
        return seesaw.dense_decode(*arrays, scale=SCALE, lse_layout="bsh")

    for got in (seesaw.dense_decode(*arrays, scale=SCALE, lse_layout="bsh"), compiled(*arrays)):
        assert (got[0] == want[0]).all()
        assert (got[1] == want[1].swapaxes(1, 2)).all()


def test_errors_of_shapes_and_of_data():
    q, kv_cache, block_table, lengths = as_jax(Case([70, 3]))
    with pytest.raises(ValueError, match="q has rank 3"):
        seesaw.dense_decode(q[0], kv_cache, block_table, lengths, scale=SCALE)
    with pytest.raises(TypeError, match="float64|int8"):
        seesaw.dense_decode(q.astype(jnp.int8), kv_cache, block_table, lengths, scale=SCALE)
    with pytest.raises(Exception, match=r"seq_lens\[0\] = 100070, allowed"):
        too_long = lengths + 100000
        jax.block_until_ready(seesaw.dense_decode(q, kv_cache, block_table, too_long, scale=SCALE))


def test_buffers_are_refused():
    arrays = as_jax(Case([70, 3]))
    with pytest.raises(TypeError, match="immutable"):
        seesaw.dense_decode(*arrays, out=arrays[0], scale=SCALE)


def test_what_a_call_brings_besides():
    rng = np.random.default_rng(1)
    case = Case([200, 70, 5, 0], s_q=5, h_q=6, causal=True)
    tensors = {
        "tree_mask": rng.integers(0, 256, (4, 5, 1), np.uint8),
        "sinks": rng.standard_normal(6).astype(np.float32),
    }
    settings = {"scale": SCALE, "causal": True, "window": 60, "soft_cap": 1.5}
    settings["return_max_logits"] = True
    wanted = seesaw.dense_decode(*case.arrays, **tensors, **settings)

    @jax.jit
    def compiled(*arrays, **tensors):
        return seesaw.dense_decode(*arrays, **tensors, **settings)

    got = compiled(*as_jax(case), **{name: jnp.asarray(t) for name, t in tensors.items()})
    assert len(got) == 3
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_ragged_queries():
    case = Case([200, 70], s_q=4, h_q=6, causal=True)
    q = case.q.reshape(8, 6, 576)[:5]
    begins = np.array([0, 1, 5], np.int32)
    wanted = seesaw.dense_decode(
        q, *case.arrays[1:], scale=SCALE, causal=True, cu_seqlens_q=begins, s_q=4
    )
    rest = as_jax(case)[1:]
    got = seesaw.dense_decode(
        jnp.asarray(q), *rest, scale=SCALE, causal=True, cu_seqlens_q=jnp.asarray(begins), s_q=4
    )
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
