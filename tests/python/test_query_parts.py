"""Queries in two arrays, q and q_rotary, give the same bits as in one; arrays of int64 where int32
is wanted."""

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case, assert_close
from sparse_cases import Cache, query


def columns_of_one(q, d_rope=64):
    return q[..., :-d_rope], q[..., -d_rope:]


def apart(q, d_rope=64):
    """Each with memory of its own, heads outermost, with NaN between the rows."""
    parts = []
    for part, gap in zip(columns_of_one(q, d_rope), (3, 5)):
        moved = np.moveaxis(part, -2, 0)
        wide = np.full((*moved.shape[:-1], moved.shape[-1] + gap), np.nan, q.dtype)
        wide[..., : moved.shape[-1]] = moved
        parts.append(np.moveaxis(wide[..., : moved.shape[-1]], 0, -2))
    return parts


def assert_same(got, want):
    for array, other in zip(got, want):
        assert np.array_equal(array, other)


CUTS = [columns_of_one, apart]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kernel", [None, "reference.dense_decode"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dense_decode(dtype, kernel, cut):
    case = Case([70, 0, 130], s_q=2, causal=True, dtype=dtype)
    q, *rest = case.arrays
    settings = {"scale": SCALE, "causal": True, "kernel": kernel}
    whole = seesaw.dense_decode(*case.arrays, **settings)
    q_latent, q_rotary = cut(q)
    assert_same(seesaw.dense_decode(q_latent, *rest, q_rotary=q_rotary, **settings), whole)
    got = seesaw.dense_decode(q_latent, *rest, q_rotary=q_rotary, lse_layout="bsh", **settings)
    assert_same((got[0], got[1].swapaxes(1, 2)), whole)
    assert_close(whole, case.expected())


@pytest.mark.parametrize("cut", CUTS)
def test_a_schedule_knows_of_the_parts(cut):
    q, *rest = Case([70, 9]).arrays
    q_latent, q_rotary = cut(q)
    problem = seesaw.Problem.of(q_latent, *rest[:2], d_rope=64)
    assert (problem.d_qk, problem.d_rope) == (576, 64)
    assert problem == seesaw.Problem.of(
        q_latent, *rest, None, None, None, q_rotary
    )  # out, lse, kv_scale
    schedule = seesaw.make_schedule(problem, rest[2])
    whole = seesaw.dense_decode(q, *rest, scale=SCALE)
    for more in ({}, {"return_max_logits": False, "causal": False}):
        got = seesaw.dense_decode(
            q_latent, *rest, q_rotary=q_rotary, scale=SCALE, schedule=schedule, **more
        )
        assert_same(got, whole)
    with pytest.raises(ValueError, match="q_rotary not given with d_rope = 64"):
        seesaw.dense_decode(q_latent, *rest, scale=SCALE, schedule=schedule)


@pytest.mark.parametrize("cut", CUTS)
def test_ragged_queries(cut):
    case = Case([70, 9, 33])
    rng = np.random.default_rng(3)
    q = rng.standard_normal((6, 16, 576)).astype(np.float32)
    begins = np.array([0, 1, 4, 6], np.int32)
    settings = {"cu_seqlens_q": begins, "s_q": 3, "scale": SCALE}
    whole = seesaw.dense_decode(q, *case.arrays[1:], **settings)
    q_latent, q_rotary = cut(q)
    got = seesaw.dense_decode(q_latent, *case.arrays[1:], q_rotary=q_rotary, **settings)
    assert_same(got, whole)


@pytest.mark.parametrize("cut", CUTS)
def test_sparse_operations(cut):
    cache = Cache((2, 3, 50), "float32", 576, page_size=61)
    q = query((2, 3, 5, 576))
    q_latent, q_rotary = cut(q)
    whole = seesaw.sparse_decode(q, cache.array, cache.indices, scale=SCALE)
    settings = {"scale": SCALE, "q_rotary": q_rotary}
    assert_same(seesaw.sparse_decode(q_latent, cache.array, cache.indices, **settings), whole)
    rows, lists = cache.array.reshape(-1, 1, 576), cache.indices[:, 0]
    whole = seesaw.sparse_prefill(q[:, 0], rows, lists, scale=SCALE)
    settings["q_rotary"] = q_rotary[:, 0]
    assert_same(seesaw.sparse_prefill(q_latent[:, 0], rows, lists, **settings), whole)


def test_parts_that_do_not_fit_are_refused():
    q, *rest = Case([70, 9]).arrays
    q_latent, q_rotary = columns_of_one(q)

    def refused(kind, match, **changes):
        with pytest.raises(kind, match=match):
            seesaw.dense_decode(q_latent, *rest, scale=SCALE, **{"q_rotary": q_rotary, **changes})

    half = q_rotary.astype(np.float16)
    refused(TypeError, "q_rotary has dtype float16, allowed: float32", q_rotary=half)
    refused(ValueError, r"q_rotary has shape \[1, 1, 16, 64\]", q_rotary=q_rotary[:1])
    refused(ValueError, "q_rotary has rank 2", q_rotary=q_rotary[:, 0, 0])
    refused(ValueError, "kv_columns = 576 .*, allowed: 544", q_rotary=q_rotary[..., :32])
    refused(TypeError, "q_rotary of type list", q_rotary=[1.0])


@pytest.mark.parametrize("named", [["seq_lens"], ["block_table"], ["seq_lens", "block_table"]])
def test_int64_where_int32_is_wanted(named):
    q, kv_cache, block_table, seq_lens = Case([70, 0, 130]).arrays
    arrays = {"block_table": block_table, "seq_lens": seq_lens}
    wide = {name: a.astype(np.int64) if name in named else a for name, a in arrays.items()}
    whole = seesaw.dense_decode(q, kv_cache, **arrays, scale=SCALE)
    assert_same(seesaw.dense_decode(q, kv_cache, **wide, scale=SCALE), whole)
    problem = seesaw.Problem.of(q, kv_cache, wide["block_table"])
    schedule = seesaw.make_schedule(problem, wide["seq_lens"]).update(wide["seq_lens"])
    got = seesaw.dense_decode(q, kv_cache, **wide, scale=SCALE, schedule=schedule)
    assert_same(got, whole)


def test_int64_that_int32_has_no_number_for():
    q, kv_cache, block_table, seq_lens = Case([70, 9]).arrays
    too_long = seq_lens.astype(np.int64) + 2**32
    with pytest.raises(ValueError, match=r"seq_lens\[0\] = 2147483647, allowed"):
        seesaw.dense_decode(q, kv_cache, block_table, too_long, scale=SCALE)


def test_int64_in_sparse_operations():
    lengths = np.array([50, 3], np.int32)
    cache = Cache((2, 1, 50), "float32", 576, lengths=lengths)
    q = query((2, 1, 5, 576))
    settings = {"scale": SCALE, "topk_length": lengths}
    whole = seesaw.sparse_decode(q, cache.array, cache.indices, **settings)
    wide = cache.indices.astype(np.int64)
    settings["topk_length"] = lengths.astype(np.int64)
    assert_same(seesaw.sparse_decode(q, cache.array, wide, **settings), whole)
    problem = seesaw.SparseDecodeProblem.of(q, cache.array, wide)
    schedule = seesaw.make_schedule(problem, wide, settings["topk_length"])
    got = seesaw.sparse_decode(q, cache.array, wide, schedule=schedule, **settings)
    assert_same(got, whole)
