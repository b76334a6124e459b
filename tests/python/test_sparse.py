"""seesaw.sparse_decode and seesaw.sparse_prefill on NumPy's arrays, against float64."""

import numpy as np
import pytest
import seesaw
from cases import SCALE
from sparse_cases import Cache, assert_near, attend, query

KERNELS = [None, "reference"]


def kernel_of(operation, kernel):
    return None if kernel is None else f"{kernel}.{operation}"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["float32", "float16", "fp8_656", "int8_644"])
def test_decode(name, kernel):
    cache = Cache((2, 3, 50), name, 576, page_size=61)
    q = query((2, 3, 5, 576), name if name == "float16" else "float32")
    sinks = np.array([0, 3, -3, np.inf, -np.inf], np.float32)
    settings = {"kv_format": name} if cache.array.dtype == np.uint8 else {}
    got = seesaw.sparse_decode(
        q,
        cache.array,
        cache.indices,
        scale=SCALE,
        sinks=sinks,
        return_max_logits=True,
        kernel=kernel_of("sparse_decode", kernel),
        **settings,
    )
    assert_near(got, attend(q, [cache], sinks=sinks))


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_extra_cache_of_another_format(kernel):
    lengths = [np.array(of, np.int32) for of in ([0, 64, 1, 0], [9, 0, -5, 99])]
    cache = Cache((4, 1, 64), "fp8_584", 512, lengths=lengths[0], seed=1)
    extra = Cache((4, 1, 17), "fp4_288", 512, page_size=2, pages=30, lengths=lengths[1], seed=2)
    q = query((4, 1, 4, 512))
    got = seesaw.sparse_decode(
        q,
        cache.array,
        cache.indices,
        scale=SCALE,
        kv_format="fp8_584",
        topk_length=lengths[0],
        extra_kv_cache=extra.array,
        extra_indices=extra.indices,
        extra_topk_length=lengths[1],
        extra_kv_format="fp4_288",
        return_max_logits=True,
        kernel=kernel_of("sparse_decode", kernel),
    )
    expected = attend(q, [cache, extra])
    assert np.isinf(expected[1][2:]).sum() < 8  # some have tokens
    assert_near(got, expected)


def test_outputs_schedule_and_workspace():
    lengths = np.array([50, 0, 7], np.int32)
    cache = Cache((3, 2, 50), "float32", 576, lengths=lengths)
    q = query((3, 2, 4, 576))
    expected = attend(q, [cache])
    problem = seesaw.SparseDecodeProblem.of(q, cache.array, cache.indices, batch=5)
    assert (problem.batch, problem.s_q, problem.topk, problem.page_size) == (5, 2, 50, 64)
    schedule = seesaw.make_schedule(problem, cache.indices, lengths)
    out = np.full((3, 2, 4, 512), np.nan, np.float32)
    lse, largest = (np.full((3, 4, 2), np.nan, np.float32) for _ in range(2))
    got = seesaw.sparse_decode(
        q,
        cache.array,
        cache.indices,
        scale=SCALE,
        topk_length=lengths,
        schedule=schedule,
        out=out,
        lse=lse,
        max_logits=largest,
        workspace=np.empty(seesaw.workspace_size(schedule), np.uint8),
    )
    assert got[0] is out and got[1] is lse and got[2] is largest
    assert_near(got, expected)
    lengths[:] = (1, 50, 50)
    schedule.update(cache.indices, lengths)
    with pytest.raises(ValueError, match="schedule"):
        seesaw.sparse_decode(
            q, cache.array, cache.indices, scale=SCALE, schedule=schedule, topk_length=lengths - 1
        )


def test_nothing_to_attend():
    cache = Cache((2, 1, 8), "float32", 576)
    cache.indices[:] = -1
    q = query((2, 1, 3, 576))
    for empty in ("-inf", "+inf"):
        out, lse, largest = seesaw.sparse_decode(
            q, cache.array, cache.indices, scale=SCALE, return_max_logits=True, empty_lse=empty
        )
        assert not out.any() and (lse == float(empty)).all() and (largest == -np.inf).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["float32", "fp8_656"])
def test_prefill(name, kernel):
    lengths = np.array([50, 0, 1, 20, 50, 49, 3], np.int32)
    cache = Cache((7, 1, 50), name, 576, page_size=1, pages=130, lengths=lengths)
    q = query((7, 1, 5, 576))
    sinks = np.linspace(-2, 2, 5, dtype=np.float32)
    rows = cache.array.reshape(130, 1, -1)
    settings = {"kv_format": name} if rows.dtype == np.uint8 else {}
    out, lse, largest = attend(q, [cache], sinks=sinks)
    expected = out[:, 0], lse[:, :, 0], largest[:, :, 0]
    for given in ((rows, cache.indices), (rows[:, 0], cache.indices[:, 0])):
        got = seesaw.sparse_prefill(
            q[:, 0],
            *given,
            scale=SCALE,
            topk_length=lengths,
            sinks=sinks,
            return_max_logits=True,
            kernel=kernel_of("sparse_prefill", kernel),
            **settings,
        )
        assert_near(got, expected)


def test_prefill_with_a_schedule():
    cache = Cache((7, 1, 50), "float32", 576, page_size=1, pages=130)
    q, rows = query((7, 1, 5, 576)), cache.array.reshape(130, 1, 576)
    problem = seesaw.SparsePrefillProblem(s_q=9, h_q=5, topk=50, q_dtype="float32")
    schedule = seesaw.make_schedule(problem, cache.indices)
    got = seesaw.sparse_prefill(q[:, 0], rows, cache.indices, scale=SCALE, schedule=schedule)
    out, lse, _ = attend(q, [cache])
    assert_near(got, (out[:, 0], lse[:, :, 0]))
    with pytest.raises(ValueError, match="a schedule of sparse_prefill, allowed: one of sparse_de"):
        seesaw.sparse_decode(q, cache.array, cache.indices, scale=SCALE, schedule=schedule)


def test_mistakes_are_named():
    cache = Cache((2, 1, 8), "float32", 576)
    q = query((2, 1, 3, 576))
    indices = cache.indices

    def decode(error, pattern, *arguments, **more):
        with pytest.raises(error, match=pattern):
            seesaw.sparse_decode(*(arguments or (q, cache.array, indices)), scale=SCALE, **more)

    decode(TypeError, "indices has dtype int16", q, cache.array, indices.astype(np.int16))
    decode(ValueError, "indices has rank 2", q, cache.array, indices[:, 0])
    decode(ValueError, "q has rank 3, allowed: .b, s_q, h_q, d_qk.", q[0], cache.array, indices)
    decode(ValueError, "extra_indices alone", extra_indices=indices)
    decode(ValueError, "extra_kv_cache alone", extra_kv_cache=cache.array)
    decode(ValueError, "extra_topk_length without extra_kv_cache", extra_topk_length=indices[:, 0])
    decode(ValueError, "kv_scale given with kv_format = None", kv_scale=np.ones(1, np.float32))
    decode(TypeError, "sinks has dtype float64", sinks=np.zeros(3))
    decode(ValueError, "sinks has shape", sinks=np.zeros(2, np.float32))
    decode(TypeError, "schedule of type str", schedule="")
    decode(TypeError, "unexpected keyword argument 'causal'", causal=True)
    indices[1, 0, 5] = 256
    indices[:, :, :5] = indices[0, 0] = -1
    decode(ValueError, r"indices\[1, 0, 5\] = 256, allowed: -1, or a slot", check_data=True)
    with pytest.raises(ValueError, match="fp8_584, whose scales lie behind a page's rows"):
        seesaw.sparse_prefill(
            q[:, 0, :, :512],
            np.zeros((9, 1, 584), np.uint8),
            indices,
            scale=SCALE,
            kv_format="fp8_584",
        )
