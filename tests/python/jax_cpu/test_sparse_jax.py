"""sparse_decode and sparse_prefill on JAX's CPU arrays, eager and under jax.jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seesaw
from cases import SCALE
from sparse_cases import Cache, assert_near, attend, query


def test_decode_and_prefill():
    lengths = np.array([50, 0, 7], np.int32)
    cache = Cache((3, 1, 50), "float32", 576, lengths=lengths)
    q = query((3, 1, 4, 576))
    expected = attend(q, [cache])
    arrays = [jnp.asarray(array) for array in (q, cache.array, cache.indices, lengths)]

    def decode(q, kv_cache, indices, counts):
        return seesaw.sparse_decode(
            q, kv_cache, indices, scale=SCALE, topk_length=counts, return_max_logits=True
        )

    def prefill(q, kv_cache, indices, counts):
        rows = kv_cache.reshape(-1, 1, 576)
        return seesaw.sparse_prefill(q[:, 0], rows, indices, scale=SCALE, topk_length=counts)

    for function in (decode, jax.jit(decode)):
        assert_near(function(*arrays), expected)
    out, lse, _ = expected
    for function in (prefill, jax.jit(prefill)):
        assert_near(function(*arrays), (out[:, 0], lse[:, :, 0]))


def test_outputs_are_refused():
    cache, q = Cache((3, 1, 50), "float32", 576), query((3, 1, 4, 576))
    arrays = [jnp.asarray(array) for array in (q, cache.array, cache.indices)]
    with pytest.raises(TypeError, match="sparse_decode: schedule, out, lse, max_logits or worksp"):
        seesaw.sparse_decode(*arrays, scale=SCALE, lse=jnp.zeros((3, 4, 1)))
