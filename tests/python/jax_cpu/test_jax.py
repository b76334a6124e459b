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
