"""Results of dense_decode on NumPy arrays."""

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case, assert_close

CASES = {
    "one_token": Case([1], h_q=1),
    "heads_7_lengths_around_a_page": Case([63, 64, 65], h_q=7),
    "empty_and_negative": Case([0, 5, -3], h_q=9),
    "all_empty": Case([0, 0], h_q=3),
    "causal_shorter_than_s_q": Case([2, 70, 0], s_q=4, h_q=5, causal=True),
    "causal_mtp": Case([130, 33], s_q=3, h_q=16, causal=True),
    "page_of_3": Case([10, 1], h_q=4, page_size=3),
    "two_kv_heads": Case([40, 90], h_q=6, h_kv=2),
    "d_512": Case([77], h_q=8, d_qk=512),
    "small_dims": Case([20, 9], h_q=2, d_qk=48, d_v=32),
    "float16": Case([100, 64], h_q=16, dtype="float16"),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_float64(name):
    case = CASES[name]
    out, lse = case.poisoned_outputs()
    got = seesaw.dense_decode(
        *case.arrays, out=out, lse=lse, scale=SCALE, causal=case.causal, d_v=case.d_v
    )
    assert got[0] is out and got[1] is lse
    assert_close(got, case.expected())


@pytest.mark.parametrize("name", CASES)
def test_allocated_outputs_and_schedule_give_the_same_bits(name):
    case = CASES[name]
    problem = seesaw.Problem.of(*case.arrays[:3], causal=case.causal, d_v=case.d_v)
    schedule = seesaw.make_schedule(problem, case.lengths)
    scheduled = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    plain = seesaw.dense_decode(*case.arrays, scale=SCALE, causal=case.causal, d_v=case.d_v)
    for a, b in zip(scheduled, plain):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.array_equal(a, b)


def test_bfloat16_of_ml_dtypes():
    pytest.importorskip("ml_dtypes")
    case = Case([130, 7], h_q=16, dtype="bfloat16")
    out, lse = seesaw.dense_decode(*case.arrays, scale=SCALE)
    assert out.dtype == case.q.dtype
    assert_close((out, lse), case.expected())


def test_query_and_cache_of_different_dtypes():
    case = Case([50], dtype="float16")
    case.q = case.q.astype(np.float32)
    got = seesaw.dense_decode(*case.arrays, scale=SCALE)
    assert got[0].dtype == np.float32
    assert_close(got, case.expected())


def test_lse_in_base_2_and_empty_as_positive_infinity():
    case = Case([30, 0], h_q=2)
    natural = seesaw.dense_decode(*case.arrays, scale=SCALE)[1]
    base2 = seesaw.dense_decode(*case.arrays, scale=SCALE, lse_base=2, empty_lse="+inf")[1]
    np.testing.assert_allclose(base2[0], natural[0] / np.log(2), rtol=1e-6)
    assert (natural[1] == -np.inf).all()
    assert (base2[1] == np.inf).all()


def test_cache_without_a_head_dimension():
    case = Case([70, 3])
    q, kv_cache, block_table, lengths = case.arrays
    flat = seesaw.dense_decode(q, kv_cache[:, :, 0], block_table, lengths, scale=SCALE)
    assert_close(flat, case.expected())


def test_strided_inputs_and_outputs():
    case = Case([70, 3], h_q=6, s_q=2, causal=True)
    wide_q = np.full((2, 2, 12, 600), np.nan, np.float32)
    q = wide_q[:, :, ::2, :576]
    q[...] = case.q
    # A cache that interleaves two layers: twice the page stride, and padded tokens.
    pool = np.full((case.kv_cache.shape[0], 2, 64, 1, 640), np.nan, np.float32)
    kv_cache = pool[:, 1, :, :, :576]
    kv_cache[...] = case.kv_cache
    block_table = np.repeat(case.block_table, 2, axis=0)[::2]
    out = np.full((2, 2, 6, 700), np.nan, np.float32)[..., :512]
    lse = np.full((2, 2, 6), np.nan, np.float32).transpose(0, 2, 1)
    got = seesaw.dense_decode(
        q, kv_cache, block_table, case.lengths, out=out, lse=lse, scale=SCALE, causal=True
    )
    assert got[0] is out and got[1] is lse
    assert_close(got, case.expected())
    columns_apart = np.full((2, 2, 6, 1024), np.nan, np.float32)[..., ::2]
    with pytest.raises(ValueError, match="out has stride 2 in dimension 3, allowed: 1 in the inn"):
        seesaw.dense_decode(
            q, kv_cache, block_table, case.lengths, out=columns_apart, scale=SCALE, causal=True
        )


def test_read_only_inputs():
    case = Case([70, 3])
    arrays = case.arrays
    for array in arrays:
        array.flags.writeable = False
    assert_close(seesaw.dense_decode(*arrays, scale=SCALE), case.expected())


def test_batch_invariant_results_do_not_depend_on_the_batch():
    case = Case([900, 64, 1, 300], h_q=16)
    together = seesaw.dense_decode(*case.arrays, scale=SCALE, batch_invariant=True)
    q, kv_cache, block_table, lengths = case.arrays
    for i in range(4):
        one = slice(i, i + 1)
        alone = seesaw.dense_decode(
            q[one], kv_cache, block_table[one], lengths[one], scale=SCALE, batch_invariant=True
        )
        assert np.array_equal(alone[0], together[0][one])
        assert np.array_equal(alone[1], together[1][one])


def test_empty_batch():
    case = Case([5, 6])
    q, kv_cache, block_table, lengths = case.arrays
    out, lse = seesaw.dense_decode(q[:0], kv_cache, block_table[:0], lengths[:0], scale=SCALE)
    assert out.shape == (0, 1, 16, 512) and lse.shape == (0, 16, 1)


def test_nan_of_an_attended_key_shows():
    case = Case([20, 20], h_q=2)
    case.kv_cache[case.block_table[0, 0], 3, 0, 100] = np.nan
    out, lse = seesaw.dense_decode(*case.arrays, scale=SCALE)
    assert np.isnan(out[0]).all() and np.isnan(lse[0]).all()
    assert np.isfinite(out[1]).all() and np.isfinite(lse[1]).all()


def test_named_kernel_and_threads_are_obeyed():
    case = Case([300, 20])
    kernels = [name for name in seesaw.info().kernels if name.split(".")[1] == "dense_decode"]
    for kernel in kernels:
        problem = seesaw.Problem.of(*case.arrays[:3])
        explanation = seesaw.explain(problem, kernel=kernel, num_threads=1)
        if explanation.kernel is None:
            continue
        assert explanation.kernel == kernel
        got = seesaw.dense_decode(*case.arrays, scale=SCALE, kernel=kernel, num_threads=1)
        assert_close(got, case.expected())
