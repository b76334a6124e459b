"""Every malformed call raises, with a message of four parts, and writes nothing."""

import dataclasses
import re

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case

FOUR_PARTS = re.compile(r"^[a-z_]+: .+, allowed: .+\. .+\.$", re.DOTALL)


def arguments():
    case = Case([70, 3], h_q=4)
    q, kv_cache, block_table, seq_lens = case.arrays
    out, lse = case.poisoned_outputs()
    return dict(
        q=q, kv_cache=kv_cache, block_table=block_table, seq_lens=seq_lens, out=out, lse=lse
    )


def transformed(name, change):
    return lambda given: given.update({name: change(given[name])})


def set_to(**values):
    return lambda given: given.update(values)


BAD = {
    "q_rank": (ValueError, "q has rank 3", transformed("q", lambda a: a[:, 0])),
    "q_list": (TypeError, "q of type list", transformed("q", lambda a: [1, 2])),
    "q_float64": (TypeError, "q has dtype float64", transformed("q", lambda a: a.astype("f8"))),
    "q_int32": (
        TypeError,
        "q has dtype int32, allowed: float32, bfloat16, float16",
        transformed("q", lambda a: a.astype("i4")),
    ),
    "q_columns": (
        ValueError,
        "kv_cache has shape|q has shape|kv_columns = 576",
        transformed("q", lambda a: np.ascontiguousarray(a[..., :560])),
    ),
    "q_batch": (ValueError, "seq_lens.shape", transformed("q", lambda a: a[:1])),
    "q_inner_stride": (
        ValueError,
        "q has stride 2",
        transformed("q", lambda a: np.repeat(a, 2, axis=-1)[..., ::2]),
    ),
    "cache_rank": (
        ValueError,
        "kv_cache has rank 2",
        transformed("kv_cache", lambda a: a[:, 0, 0]),
    ),
    "cache_uint16": (TypeError, "uint16", transformed("kv_cache", lambda a: a.view("u2"))),
    "cache_flipped": (ValueError, "kv_page_stride", transformed("kv_cache", lambda a: a[::-1])),
    "table_int16": (
        TypeError,
        "block_table has dtype int16, allowed: int32, int64. Convert",
        transformed("block_table", lambda a: a.astype("i2")),
    ),
    "table_none": (TypeError, "block_table of type None", set_to(block_table=None)),
    "table_list": (TypeError, "block_table of type list", set_to(block_table=[[0]])),
    "table_rank": (
        ValueError,
        "block_table has rank 1",
        transformed("block_table", lambda a: a[0]),
    ),
    "table_id": (
        ValueError,
        r"block_table\[0, 0\] = 99",
        transformed("block_table", lambda a: np.where(a == a[0, 0], 99, a).astype("i4")),
    ),
    "lengths_int16": (
        TypeError,
        "seq_lens has dtype int16, allowed: int32, int64. Convert",
        transformed("seq_lens", lambda a: a.astype("i2")),
    ),
    "lengths_rank": (
        ValueError,
        "seq_lens has rank 2",
        transformed("seq_lens", lambda a: a[:, None]),
    ),
    "lengths_count": (
        ValueError,
        "b = seq_lens.shape|seq_lens has shape",
        transformed("seq_lens", lambda a: np.repeat(a, 2)),
    ),
    "length_too_long": (
        ValueError,
        r"seq_lens\[1\] = 100000",
        set_to(seq_lens=np.array([70, 100000], np.int32)),
    ),
    "negative_length_checked": (
        ValueError,
        r"seq_lens\[1\] = -1",
        set_to(seq_lens=np.array([70, -1], np.int32), check_data=True),
    ),
    "out_shape": (ValueError, "out has shape", transformed("out", lambda a: a[:, :, :2])),
    "out_dtype": (TypeError, "out has dtype", transformed("out", lambda a: a.astype("f2"))),
    "out_overlaps": (
        ValueError,
        "out has stride 0",
        transformed(
            "out", lambda a: np.lib.stride_tricks.as_strided(a, a.shape, (0, *a.strides[1:]))
        ),
    ),
    "lse_dtype": (TypeError, "lse has dtype", transformed("lse", lambda a: a.astype("f2"))),
    "lse_shape": (ValueError, "lse has shape", transformed("lse", lambda a: a[:, :2])),
    "d_v_wider": (ValueError, "d_v = 600", set_to(d_v=600, out=None)),
    "scale_nan": (ValueError, "scale = nan", set_to(scale=float("nan"))),
    "scale_text": (TypeError, "scale of type str", set_to(scale="big")),
    "scale_none": (TypeError, "scale of type NoneType", set_to(scale=None)),
    "scale_huge": (ValueError, "scale is beyond float64", set_to(scale=10**400)),
    "d_v_text": (TypeError, "d_v of type str", set_to(d_v="512")),
    "causal_list": (ValueError, r"causal = \[\]", set_to(causal=[])),
    "kernel_number": (TypeError, "kernel of type int", set_to(kernel=3)),
    "schedule_dict": (TypeError, "schedule of type dict", set_to(schedule={})),
    "lse_base": (ValueError, "lse_base = 10", set_to(lse_base=10)),
    "empty_lse": (ValueError, "empty_lse = 0", set_to(empty_lse=0)),
    "kernel": (ValueError, 'kernel = "fast"', set_to(kernel="fast")),
    "threads": (ValueError, "num_threads = -1", set_to(num_threads=-1)),
    "workspace_small": (
        ValueError,
        r"workspace of \d+ bytes, allowed: .* Ask seesaw.workspace_size",
        set_to(workspace=np.empty(300, np.uint8)),
    ),
    "workspace_tiny": (ValueError, "workspace of [01]", set_to(workspace=np.empty(1, np.uint8))),
    "workspace_floats": (TypeError, "workspace", set_to(workspace=np.empty(1 << 22, np.float32))),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name):
    error, pattern, spoil = BAD[name]
    given = arguments()
    out, lse = given["out"], given["lse"]
    spoil(given)
    tensors = [given.pop(name) for name in ("q", "kv_cache", "block_table", "seq_lens")]
    with pytest.raises(error, match=pattern) as caught:
        seesaw.dense_decode(*tensors, **{"scale": SCALE, **given})
    assert FOUR_PARTS.match(str(caught.value)), str(caught.value)
    assert np.isnan(out).all() and np.isnan(lse).all()


def test_unsupported_problem_is_not_implemented():
    problem = seesaw.Problem(batch=1, h_q=16, max_pages_per_sequence=1)
    with pytest.raises(NotImplementedError, match="on a GPU|no NVIDIA driver") as caught:
        seesaw.workspace_size(problem, device="cuda:77")
    assert FOUR_PARTS.match(str(caught.value)), str(caught.value)


def test_unknown_device_and_dtype_of_a_problem():
    problem = seesaw.Problem(batch=1, h_q=1, max_pages_per_sequence=1)
    with pytest.raises(ValueError, match='device = "tpu"'):
        seesaw.supports(problem, device="tpu")
    for field in ("q_dtype", "kv_format"):
        with pytest.raises(TypeError, match=f"{field} = 'int8'") as caught:
            dataclasses.replace(problem, **{field: "int8"})
        assert FOUR_PARTS.match(str(caught.value)), str(caught.value)


def test_malformed_sizes_of_a_problem():
    for field, value in (("batch", 0), ("h_q", 0), ("page_size", -1), ("batch", 2**40)):
        sizes = dict(batch=1, h_q=1, max_pages_per_sequence=1)
        sizes[field] = value
        with pytest.raises(ValueError, match=f"{field} = {value}"):
            seesaw.supports(seesaw.Problem(**sizes))


def test_explicit_zeros_are_no_defaults():
    """To the library 0 is a field that is not given; a caller's own 0 is a mistake."""
    sizes = dict(batch=1, h_q=1, max_pages_per_sequence=1)
    for field in ("batch", "s_q", "h_q", "h_kv", "d_qk", "d_v", "page_size"):
        with pytest.raises(ValueError, match=f"{field} = 0, allowed: 1 to") as caught:
            seesaw.Problem(**{**sizes, field: 0})
        assert FOUR_PARTS.match(str(caught.value)), str(caught.value)
    packed = seesaw.Problem(**sizes, kv_page_stride=0)
    assert packed == seesaw.Problem(**sizes)
    tensors = Case([70, 3], h_q=4).arrays
    for field in ("batch", "d_v"):
        with pytest.raises(ValueError, match=f"{field} = 0, allowed: 1 to"):
            seesaw.Problem.of(*tensors[:3], **{field: 0})
    with pytest.raises(ValueError, match="d_v = 0, allowed: 1 to"):
        seesaw.dense_decode(*tensors, d_v=0, scale=SCALE)
    with pytest.raises(ValueError, match="h_q = 0, allowed: 1 to"):
        seesaw.Problem.of(tensors[0][:, :, :0], *tensors[1:3])


def test_types_of_fields_and_unknown_names():
    sizes = dict(batch=1, h_q=1, max_pages_per_sequence=1)
    with pytest.raises(TypeError, match="h_q of type float"):
        seesaw.Problem(**{**sizes, "h_q": 16.0})
    assert seesaw.Problem(**{**sizes, "h_q": np.int64(16)}).h_q == 16
    assert seesaw.Problem(**sizes, causal=1).causal is True
    tensors = Case([70, 3], h_q=4).arrays
    for call in (
        lambda: seesaw.dense_decode(*tensors, heads=3, scale=SCALE),
        lambda: seesaw.Problem.of(*tensors[:3], heads=3),
        lambda: seesaw.supports(seesaw.Problem(**sizes), heads=3),
    ):
        with pytest.raises(TypeError, match="unexpected keyword argument 'heads'"):
            call()


def test_the_status_is_the_kind_of_exception():
    """Whatever the message says: a value's may name a dtype, and a dtype's need not."""
    q, kv_cache, block_table, seq_lens = Case([70, 3], h_q=4).arrays
    out = np.empty((2, 1, 4, 512), np.float16)
    problem = seesaw.Problem.of(q, kv_cache, block_table)
    refusals = {
        "invalid_argument": (ValueError, lambda: seesaw.explain(problem, kernel="dtype")),
        "invalid_type": (
            TypeError,
            lambda: seesaw.dense_decode(
                q, kv_cache, block_table, seq_lens, out=out, scale=SCALE
            ),
        ),
        "not_supported": (
            NotImplementedError,
            lambda: seesaw.workspace_size(problem, device="cuda:77"),
        ),
    }
    for status, (error, call) in refusals.items():
        before = calls_that_returned(status)
        with pytest.raises(error):
            call()
        assert calls_that_returned(status) == before + 1


def calls_that_returned(status):
    return sum(counts[status] for row in seesaw.stats() for counts in row.calls.values())


def test_options_against_the_schedule():
    given = arguments()
    tensors = [given[name] for name in ("q", "kv_cache", "block_table", "seq_lens")]
    schedule = seesaw.make_schedule(seesaw.Problem.of(*tensors[:3], causal=True), tensors[3])
    seesaw.dense_decode(*tensors, schedule=schedule, causal=True, scale=SCALE)
    for option in (dict(causal=False), dict(d_v=256), dict(lse_base=2)):
        (name,) = option
        with pytest.raises(ValueError, match=f"{name} = .* as in the schedule"):
            seesaw.dense_decode(*tensors, schedule=schedule, **option, scale=SCALE)


def test_schedule_of_other_shapes():
    small, large = Case([70], h_q=4), Case([70, 70, 70], h_q=4)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*small.arrays[:3]), small.lengths)
    with pytest.raises(ValueError, match="b = seq_lens"):
        seesaw.dense_decode(*large.arrays, schedule=schedule, scale=SCALE)


def test_schedule_of_other_lengths():
    case = Case([300, 20])
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths)
    other = np.array([20, 20], np.int32)
    with pytest.raises(ValueError, match="schedule"):
        seesaw.dense_decode(*case.arrays[:3], other, schedule=schedule, scale=SCALE)


def test_errors_of_threads_do_not_mix():
    from concurrent.futures import ThreadPoolExecutor

    problem = seesaw.Problem(batch=1, h_q=1, max_pages_per_sequence=1)

    def refused(kernel):
        try:
            seesaw.workspace_size(problem, kernel=kernel)
        except ValueError as error:
            return f'"{kernel}"' in str(error)
        return False

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refused, [f"kernel_{i}" for i in range(400)]))
