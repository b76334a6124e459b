"""Queries in two tensors and lengths of int64, eager and in compiled functions."""

import pytest
import seesaw
import torch
from cases import SCALE, Case
from sparse_cases import Cache, query


def as_torch(arrays):
    return [torch.from_numpy(array) for array in arrays]


def parts_of(q):
    """The latent part as a batched product leaves it, heads outermost; the rotary one a view."""
    by_head = q[..., :512].movedim(-2, 0).contiguous()
    return by_head.movedim(0, -2), q[..., 512:]


def assert_same(got, want):
    for tensor, other in zip(got, want):
        assert torch.equal(tensor, other)


def dense(q_latent, q_rotary, *rest):
    return seesaw.dense_decode(q_latent, *rest, q_rotary=q_rotary, scale=SCALE, causal=True)


def sparse(q_latent, q_rotary, *rest):
    return seesaw.sparse_decode(q_latent, *rest, q_rotary=q_rotary, scale=SCALE)


def prefill(q_latent, q_rotary, *rest):
    return seesaw.sparse_prefill(q_latent, *rest, q_rotary=q_rotary, scale=SCALE)


def dense_case():
    q, *rest = as_torch(Case([70, 9], s_q=2, dtype="float16").arrays)
    return dense, q, rest, seesaw.dense_decode(q, *rest, scale=SCALE, causal=True)


def sparse_case():
    cache = Cache((2, 3, 50), "float32", 576)
    q, *rest = as_torch((query((2, 3, 5, 576)), cache.array, cache.indices))
    return sparse, q, rest, seesaw.sparse_decode(q, *rest, scale=SCALE)


def prefill_case():
    cache = Cache((4, 1, 50), "float32", 576)
    rows = cache.array.reshape(-1, 1, 576)
    q, *rest = as_torch((query((4, 5, 576)), rows, cache.indices))
    return prefill, q, rest, seesaw.sparse_prefill(q, *rest, scale=SCALE)


@pytest.mark.parametrize("make", [dense_case, sparse_case, prefill_case])
def test_the_same_bits_eager_and_compiled(make):
    function, q, rest, whole = make()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for parts in (parts_of(q), (q[..., :512], q[..., 512:])):
        assert_same(function(*parts, *rest), whole)
        assert_same(compiled(*parts, *rest), whole)


@pytest.mark.parametrize("make", [dense_case, sparse_case, prefill_case])
def test_lengths_and_tables_of_int64(make):
    function, q, (cache, *integers), whole = make()
    wide = [tensor.long() for tensor in integers]
    parts = (q[..., :512], q[..., 512:])
    assert_same(function(*parts, cache, *wide), whole)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert_same(compiled(*parts, cache, *wide), whole)


def test_by_a_schedule():
    q, cache, table, lengths = as_torch(Case([70, 9]).arrays)
    q, cache = q.bfloat16(), cache.bfloat16()
    whole = seesaw.dense_decode(q, cache, table, lengths, scale=SCALE)
    q_latent, q_rotary = parts_of(q)
    problem = seesaw.Problem.of(q_latent, cache, table, d_rope=64)
    schedule = seesaw.make_schedule(problem, lengths.long())
    for rest in ((table, lengths), (table.long(), lengths.long())):
        got = seesaw.dense_decode(
            q_latent, cache, *rest, q_rotary=q_rotary, scale=SCALE, schedule=schedule
        )
        assert_same(got, whole)
    negated = torch._neg_view(-q_rotary)  # whose memory is not what it says
    got = seesaw.dense_decode(
        q_latent, cache, table, lengths, q_rotary=negated, scale=SCALE, schedule=schedule
    )
    assert_same(got, whole)


def test_parts_of_different_dtypes_are_refused():
    q, *rest = as_torch(Case([70, 9]).arrays)
    with pytest.raises(TypeError, match="q_rotary has dtype bfloat16, allowed: float32"):
        dense(q[..., :512], q[..., 512:].bfloat16(), *rest)
