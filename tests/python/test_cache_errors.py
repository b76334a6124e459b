"""append and gather: what is refused, and that nothing is written then."""

import numpy as np
import pytest
import seesaw
from format_model import MODELS, Pool

T = 6


@pytest.fixture
def call():
    """Arguments of a right call of append over 656 bytes a token, and the pool behind."""
    rng = np.random.default_rng(0)
    pool = Pool(MODELS["fp8_656"], 2, 64)
    arguments = {
        "c_kv": rng.standard_normal((T, 512)).astype(np.float32),
        "k_rope": rng.standard_normal((T, 64)).astype(np.float32),
        "slot_mapping": np.arange(T),
        "kv_cache": pool.view,
        "kv_format": "fp8_656",
    }
    return arguments, pool


def refused(call, error, match, **changed):
    arguments, pool = call
    before = pool.pages.copy()
    with pytest.raises(error, match=match) as caught:
        seesaw.append(**{**arguments, **changed})
    assert str(caught.value).startswith("append: ")
    np.testing.assert_array_equal(pool.pages, before)


def test_slots_behind_the_cache(call):
    for slot in (128, 2**40):
        slots = np.arange(T)
        slots[T - 1] = slot
        refused(call, ValueError, rf"slot_mapping\[5\] = {slot}", slot_mapping=slots)


def test_rows_of_another_number(call):
    refused(call, ValueError, "slot_mapping has shape", slot_mapping=np.arange(T + 1))
    refused(call, ValueError, "k_rope", k_rope=np.zeros((T - 1, 64), np.float32))
    refused(call, ValueError, "allowed: ", c_kv=np.zeros((T, 511), np.float32))
    refused(call, ValueError, "allowed: ", k_rope=None)


def test_dtypes(call):
    arguments, _ = call
    refused(call, TypeError, "slot_mapping has dtype int32", slot_mapping=np.arange(T, dtype="i4"))
    refused(call, TypeError, "c_kv has dtype float64", c_kv=np.zeros((T, 512)))
    refused(call, TypeError, "k_rope has dtype", k_rope=arguments["k_rope"].astype(np.float16))
    refused(call, TypeError, "kv_cache has dtype int32", kv_cache=np.zeros((2, 64, 164), np.int32))
    refused(call, TypeError, "kv_cache has dtype uint8.* without kv_format", kv_format=None)


def test_formats(call):
    refused(call, (ValueError, TypeError), "kv_format = 'fp8_999'", kv_format="fp8_999")
    refused(call, ValueError, "kv_columns|shape", kv_format="fp8_576")
    refused(call, (ValueError, TypeError), "kv_cache|kv_columns", kv_format="bfloat16")


def test_scales(call):
    refused(call, ValueError, 'scales = "least"', scales="least")
    refused(call, ValueError, "scales", scales=np.ones((T, 3), np.float32))
    wrong = np.ones((T, 4), np.float32)
    for value in (0, -1, np.inf, np.nan):
        wrong[2, 1] = value
        refused(call, ValueError, "scales", scales=wrong)
    refused(call, TypeError, "scales of type float", scales=1.0)


def test_rotary(call):
    positions, cos_sin = np.arange(T), np.zeros((4, 64), np.float32)
    given = {"positions": positions, "cos_sin": cos_sin}
    refused(call, ValueError, "rotary = 'neox'", rotary="neox", **given)
    refused(call, ValueError, r"positions\[4\] = 4", rotary="half_split", **given)
    refused(call, ValueError, "positions|cos_sin", rotary="half_split")
    refused(call, ValueError, "positions without rotary", **given)
    refused(call, ValueError, "q_rope without rotary", q_rope=np.zeros((T, 2, 64), np.float32))


def test_outputs_that_may_not_be_written(call):
    arguments, pool = call
    frozen = pool.view.copy()
    frozen.flags.writeable = False
    refused(call, ValueError, "kv_cache is read only", kv_cache=frozen)
    saturated = np.zeros(1, np.int64)
    saturated.flags.writeable = False
    refused(call, ValueError, "saturated is read only", saturated=saturated)


def test_caches_whose_slots_share_memory(call):
    one = np.zeros((1, 64, 576), np.float32)
    shared = np.lib.stride_tricks.as_strided(one, (2, 64, 576), (576 * 4, 576 * 4, 4))
    refused(call, ValueError, "kv_cache has stride", kv_cache=shared, kv_format=None)


@pytest.mark.parametrize("name", ["fp8_584", "fp4_288"])
def test_pages_too_close(name):
    model = MODELS[name]
    memory = np.zeros(5 * 61 * model.token, np.uint8)
    strides = (61 * model.token - 1, model.token, 1)  # into the scales of the page before
    cache = np.lib.stride_tricks.as_strided(memory, (4, 61, model.token), strides)
    c_kv = np.zeros((1, model.d_latent), np.float32)
    k_rope = np.zeros((1, model.d_rope), np.float32)
    with pytest.raises(ValueError, match="kv_page_stride|kv_cache has stride"):
        seesaw.append(c_kv, k_rope, np.zeros(1, np.int64), cache, kv_format=name)
    with pytest.raises(ValueError, match="kv_page_stride|kv_cache has stride"):
        seesaw.gather(cache, slots=np.zeros(1, np.int64), kv_format=name, dtype="float32")


def test_gather():
    pool = Pool(MODELS["fp8_656"], 2, 64, poison=0)
    view, fp8 = pool.view, {"kv_format": "fp8_656", "dtype": "float32"}
    slots, table = np.arange(3), np.zeros((1, 2), np.int32)
    ends = np.array([0, 70], np.int32)
    for error, match, given in (
        (ValueError, "neither slots nor block_table", fp8),
        (ValueError, "slots and", {"slots": slots, "block_table": table, **fp8}),
        (ValueError, "without cu_seq_lens", {"block_table": table, "rows": 3, **fp8}),
        (
            ValueError,
            r"block_table\[0, 1\] = 7",
            {"block_table": np.array([[0, 7]], np.int32), "cu_seq_lens": ends, **fp8},
        ),
        (
            ValueError,
            r"cu_seq_lens\[0\] = 1",
            {"block_table": table, "cu_seq_lens": np.array([1, 2], np.int32), **fp8},
        ),
        (
            ValueError,
            "the rows of out",
            {
                "block_table": table,
                "cu_seq_lens": ends,
                "out": np.zeros((69, 576), np.float32),
                **fp8,
            },
        ),
        (TypeError, "without kv_format", {"slots": slots, "dtype": "float32"}),
        (TypeError, "dtype = 'int8'", {"slots": slots, **fp8, "dtype": "int8"}),
        (
            TypeError,
            "out has dtype float32, allowed: uint8",
            {"slots": slots, **fp8, "dtype": "raw", "out": np.zeros((3, 576), np.float32)},
        ),
        (
            ValueError,
            "out",
            {"slots": slots, "kv_format": "fp8_656", "out": np.zeros((3, 575), np.float32)},
        ),
        (TypeError, "slots has dtype", {"slots": slots.astype(np.float32), **fp8}),
        (ValueError, "kv_scale", {"slots": slots, "kv_scale": np.ones(2, np.float32), **fp8}),
    ):
        with pytest.raises(error, match=match) as caught:
            seesaw.gather(view, **given)
        assert str(caught.value).startswith("gather: "), caught.value


def test_kv_scale_of_formats_that_have_none(call):
    refused(call, ValueError, "kv_scale", kv_scale=np.ones(1, np.float32))


def test_kv_scale_of_dense_decode():
    q, cache = np.zeros((1, 1, 2, 576), np.float32), np.zeros((1, 64, 576), np.float32)
    arrays = (q, cache, np.zeros((1, 1), np.int32), np.ones(1, np.int32))
    schedule = seesaw.make_schedule(seesaw.Problem.of(*arrays[:3]), arrays[3])
    one = np.ones(1, np.float32)
    for given in ({}, {"schedule": schedule}, {"kv_format": "float32"}):
        with pytest.raises(ValueError, match="kv_scale given .*, allowed: with fp8_576"):
            seesaw.dense_decode(*arrays, scale=1, kv_scale=one, **given)
    with pytest.raises(TypeError, match="schedule of type int"):
        seesaw.dense_decode(*arrays, scale=1, kv_scale=one, schedule=3)


def test_dense_decode_wants_the_format_of_bytes():
    q = np.zeros((1, 1, 2, 576), np.float32)
    table, lengths = np.zeros((1, 1), np.int32), np.ones(1, np.int32)
    cache = np.zeros((1, 64, 656), np.uint8)
    with pytest.raises(TypeError, match="kv_cache has dtype uint8.* without kv_format"):
        seesaw.dense_decode(q, cache, table, lengths, scale=1)
    schedule = seesaw.make_schedule(
        seesaw.Problem.of(q, cache, table, kv_format="fp8_656"), lengths
    )
    with pytest.raises(ValueError, match="kv_format = 'fp8_576', allowed: 'fp8_656'"):
        seesaw.dense_decode(
            q, cache, table, lengths, scale=1, schedule=schedule, kv_format="fp8_576"
        )
    with pytest.raises(ValueError, match="kv_page_stride|kv_columns|shape"):
        seesaw.dense_decode(q, cache, table, lengths, scale=1, kv_format="fp8_576")
