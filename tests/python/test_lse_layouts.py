"""lse and max_logits of dense_decode as [b, s_q, h_q] or [total_q, h_q], as engines keep them."""

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case


def turned(array):
    return np.swapaxes(array, -2, -1)


def case_of(ragged):
    """(arrays, settings, heads first, tokens first)"""
    case = Case([200, 70, 5], s_q=3, h_q=4, causal=True)
    q, *rest = case.arrays
    settings = {"scale": SCALE, "causal": True}
    if not ragged:
        return (q, *rest), settings, "bhs", "bsh"
    begins = np.array([0, 1, 4, 6], np.int32)
    settings.update(cu_seqlens_q=begins, s_q=3)
    return (q.reshape(9, 4, 576)[:6].copy(), *rest), settings, "ht", "th"


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("given", [(), ("lse",), ("max_logits",), ("lse", "max_logits")])
def test_layouts_hold_the_same_bits(ragged, given):
    arrays, settings, heads_first, tokens_first = case_of(ragged)
    want = seesaw.dense_decode(*arrays, **settings, return_max_logits=True)
    same = seesaw.dense_decode(*arrays, **settings, return_max_logits=True, lse_layout=heads_first)
    assert all(np.array_equal(a, b) for a, b in zip(same, want))
    numbers = {name: np.full(turned(want[1]).shape, np.nan, np.float32) for name in given}
    got = seesaw.dense_decode(
        *arrays, **settings, **numbers, return_max_logits=True, lse_layout=tokens_first
    )
    assert np.array_equal(got[0], want[0])
    for i, name in ((1, "lse"), (2, "max_logits")):
        assert np.array_equal(got[i], turned(want[i]))
        assert name not in given or got[i] is numbers[name]
    assert got[1].flags.c_contiguous  # tokens one behind the other


def test_with_a_schedule_and_a_strided_lse():
    arrays, settings, _, _ = case_of(False)
    problem = seesaw.Problem.of(*arrays[:3], causal=True)
    schedule = seesaw.make_schedule(problem, arrays[3])
    want = seesaw.dense_decode(*arrays, scale=SCALE, schedule=schedule)
    wide = np.full((3, 3, 9), np.nan, np.float32)
    out, lse = seesaw.dense_decode(
        *arrays, scale=SCALE, schedule=schedule, lse=wide[:, :, :8:2], lse_layout="bsh"
    )
    assert np.array_equal(out, want[0]) and np.array_equal(lse, turned(want[1]))
    assert np.isnan(wide[:, :, 1::2]).all() and np.isnan(wide[:, :, 8]).all()


def test_merges_without_a_copy():
    arrays, settings, _, _ = case_of(False)
    q, kv_cache, table, lengths = arrays
    first = np.minimum(lengths, 64).astype(np.int32)
    rest = (np.ascontiguousarray(table[:, 1:]), lengths - first)
    # Not causal: each part sees its keys whole.
    whole = seesaw.dense_decode(*arrays, scale=SCALE, lse_layout="bsh")
    parts = [
        seesaw.dense_decode(q, kv_cache, *keys, scale=SCALE, lse_layout="bsh")
        for keys in ((table, first), rest)
    ]
    got = seesaw.merge_states(*zip(*parts), lse_layout="bsh")
    for a, b in zip(got, whole):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ragged", [False, True])
def test_what_is_refused(ragged):
    arrays, settings, heads_first, tokens_first = case_of(ragged)
    others = case_of(not ragged)[2:]
    for wrong in (*others, "", 1, ["bsh"]):
        with pytest.raises(ValueError, match=f'allowed: "{heads_first}", "{tokens_first}" with'):
            seesaw.dense_decode(*arrays, **settings, lse_layout=wrong)
    shape = (6, 4) if ragged else (3, 3, 4)
    for name in ("lse", "max_logits"):
        for wrong in ((5, *shape[1:]), shape[1:], (*shape, 1), shape[::-1]):
            with pytest.raises(ValueError, match=f"dense_decode: {name} has shape .*, allowed: "):
                given = {name: np.zeros(wrong, np.float32)}
                seesaw.dense_decode(*arrays, **settings, **given, lse_layout=tokens_first)
        with pytest.raises(TypeError, match=f"dense_decode: {name} of type list, allowed"):
            seesaw.dense_decode(*arrays, **settings, **{name: [1.0]}, lse_layout=tokens_first)
    with pytest.raises(ValueError, match="q has rank [12], allowed: "):
        seesaw.dense_decode(arrays[0][0, 0], *arrays[1:], **settings, lse_layout=tokens_first)
