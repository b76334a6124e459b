"""Queries in two arrays, lengths of int64, and a scale that is traced, inside jax.jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import seesaw
from cases import SCALE, Case
from sparse_cases import Cache, query


def as_jax(*arrays):
    return [jnp.asarray(array) for array in arrays]


def assert_same(got, want):
    for array, other in zip(got, want):
        assert (np.asarray(array) == np.asarray(other)).all()


def dense(q, rest, **more):
    return seesaw.dense_decode(q, *rest, **{"scale": SCALE, "causal": True, **more})


def sparse(q, rest, **more):
    return seesaw.sparse_decode(q, *rest, **{"scale": SCALE, **more})


def prefill(q, rest, **more):
    return seesaw.sparse_prefill(q, *rest, **{"scale": SCALE, **more})


def cases():
    q, *rest = Case([70, 9], s_q=2).arrays
    yield dense, *as_jax(q), as_jax(*rest)
    cache = Cache((2, 1, 50), "float32", 576)
    yield sparse, *as_jax(query((2, 1, 5, 576))), as_jax(cache.array, cache.indices)
    rows = cache.array.reshape(-1, 1, 576)
    yield prefill, *as_jax(query((2, 5, 576))), as_jax(rows, cache.indices)


@pytest.mark.parametrize("function, q, rest", list(cases()))
def test_parts_give_the_same_bits(function, q, rest):
    whole = function(q, rest)
    for run in (function, jax.jit(function)):
        assert_same(run(q[..., :512], rest, q_rotary=q[..., 512:]), whole)


@pytest.mark.parametrize("function, q, rest", list(cases()))
def test_lengths_of_int64(function, q, rest):
    whole = function(q, rest)
    jax.config.update("jax_enable_x64", True)
    try:
        wide = [rest[0], *(array.astype(jnp.int64) for array in rest[1:])]
        for run in (function, jax.jit(function)):
            assert_same(run(q, wide), whole)
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("function, q, rest", list(cases()))
def test_a_scale_that_is_traced(function, q, rest):
    compiled = jax.jit(lambda q, rest, scale: function(q, rest, scale=scale))
    for scale in (SCALE, 0.0, -0.5, 1):
        assert_same(compiled(q, rest, scale), function(q, rest, scale=scale))
        assert_same(
            compiled(q, rest, jnp.full((1,), scale, jnp.float32)), function(q, rest, scale=scale)
        )
    assert compiled._cache_size() == 3  # of a float, of an int, and of an array

    def step(scale, _):
        return scale * 2, function(q, rest, scale=scale)

    _, (outs, lses) = jax.lax.scan(step, jnp.float32(SCALE), length=2)
    assert_same((outs[1], lses[1]), function(q, rest, scale=float(np.float32(SCALE) * 2)))


def test_scales_that_are_none():
    function, q, rest = next(iter(cases()))
    compiled = jax.jit(lambda scale: function(q, rest, scale=scale))
    with pytest.raises(TypeError, match=r"scale of shape \(2,\) and dtype float32, allowed: one"):
        compiled(jnp.ones(2))
    with pytest.raises(TypeError, match="dtype complex64, allowed: one real number"):
        compiled(1j)
    with pytest.raises(Exception, match="scale = nan, allowed: a finite number"):
        jax.block_until_ready(compiled(np.nan))
    capped = jax.jit(lambda cap: function(q, rest, soft_cap=cap))
    with pytest.raises(TypeError, match="soft_cap of type .*, allowed: a Python number"):
        capped(3.0)
