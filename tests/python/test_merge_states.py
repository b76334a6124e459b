"""seesaw.merge_states: the conventions of vLLM, SGLang, FlashInfer and of dense_decode itself."""

import numpy as np
import pytest
import seesaw
from cases import Case

RNG = np.random.default_rng(3)


def parts_of(count, tokens, heads, d_v, dtype=np.float32):
    outs = [RNG.standard_normal((tokens, heads, d_v)).astype(dtype) for _ in range(count)]
    lses = [3 * RNG.standard_normal((tokens, heads)).astype(np.float32) for _ in range(count)]
    return outs, lses


def merged(outs, lses, base=np.e):
    """The definition, in float64."""
    lses = np.stack([lse.astype(np.float64) for lse in lses]) * np.log(base)
    attended = np.isfinite(lses)
    weights = np.where(attended, np.exp(np.where(attended, lses, 0)), 0)
    total = weights.sum(0)
    values = np.where(attended[..., None], np.stack([o.astype(np.float64) for o in outs]), 0)
    safe = np.where(total == 0, 1, total)
    with np.errstate(divide="ignore"):
        return (weights[..., None] * values).sum(0) / safe[..., None], np.log(total) / np.log(base)


@pytest.mark.parametrize("count", [2, 3, 64])
@pytest.mark.parametrize("layout", ["th", "ht"])
@pytest.mark.parametrize("base", ["e", 2])
def test_engines_conventions(count, layout, base):
    outs, lses = parts_of(count, 7, 5, 33)
    given = lses if layout == "th" else [np.ascontiguousarray(lse.T) for lse in lses]
    out, lse = seesaw.merge_states(outs, given, lse_layout=layout, lse_base=base)
    want_out, want_lse = merged(outs, lses, np.e if base == "e" else 2)
    np.testing.assert_allclose(out, want_out, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(lse if layout == "th" else lse.T, want_lse, rtol=2e-6, atol=2e-6)


def test_empty_parts_are_not_read_whichever_infinity_says_so():
    outs, lses = parts_of(3, 4, 2, 8)
    lses[0][1, 0] = -np.inf
    lses[1][1, 0] = np.inf
    outs[0][1, 0] = outs[1][1, 0] = np.nan
    for lse in lses:
        lse[2, 1] = -np.inf
    out, lse = seesaw.merge_states(outs, lses, lse_layout="th")
    want_out, want_lse = merged(outs, lses)
    np.testing.assert_allclose(out, want_out, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(lse, want_lse, rtol=2e-6, atol=2e-6)
    assert not out[2, 1].any() and lse[2, 1] == -np.inf
    _, positive = seesaw.merge_states(outs, lses, lse_layout="th", empty_lse="+inf")
    assert positive[2, 1] == np.inf


def test_two_halves_of_a_cache_make_the_whole():
    case = Case([130, 1, 0, 64], s_q=2, h_q=3)
    whole_out, whole_lse = seesaw.dense_decode(*case.arrays, scale=0.1)
    q, kv_cache, table, lengths = case.arrays
    first = np.minimum(lengths, 64).astype(np.int32)
    parts = [
        seesaw.dense_decode(q, kv_cache, table, first, scale=0.1),
        seesaw.dense_decode(
            q, kv_cache, np.ascontiguousarray(table[:, 1:]), lengths - first, scale=0.1
        ),
    ]
    out, lse = seesaw.merge_states([p[0] for p in parts], [p[1] for p in parts], lse_layout="bhs")
    np.testing.assert_allclose(out, whole_out, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lse, whole_lse, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", ["th", "ht", "bhs", "bsh"])
def test_stacked_arrays(layout):
    rng = np.random.default_rng(7)
    shape, lse_shape = {
        "th": ((4, 7, 5, 33), (4, 7, 5)),
        "ht": ((4, 7, 5, 33), (4, 5, 7)),
        "bhs": ((4, 3, 2, 5, 33), (4, 3, 5, 2)),
        "bsh": ((4, 3, 2, 5, 33), (4, 3, 2, 5)),
    }[layout]
    outs = rng.standard_normal(shape).astype(np.float32)
    lses = rng.standard_normal(lse_shape).astype(np.float32)
    want = seesaw.merge_states(list(outs), list(lses), lse_layout=layout)
    for given in ((outs, lses), (outs, list(lses)), (np.asfortranarray(outs.T).T, lses)):
        got = seesaw.merge_states(*given, lse_layout=layout)
        assert all((a == b).all() for a, b in zip(got, want))
    many = np.zeros((66, *shape[1:]), np.float32), np.zeros((66, *lse_shape[1:]), np.float32)
    with pytest.raises(ValueError, match="65 outs and 65 lses, allowed: 2 to 64"):
        seesaw.merge_states(*many, lse_layout=layout)
    with pytest.raises(ValueError, match="1 outs and 1 lses"):
        seesaw.merge_states(outs[:1], lses[:1], lse_layout=layout)


def test_into_a_part():
    outs, lses = parts_of(2, 5, 4, 16)
    want_out, want_lse = merged(outs, lses)
    out, lse = seesaw.merge_states(outs, lses, lse_layout="th", out=outs[0], lse=lses[0])
    assert out is outs[0] and lse is lses[0]
    np.testing.assert_allclose(out, want_out, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(lse, want_lse, rtol=2e-6, atol=2e-6)


def test_mistakes():
    outs, lses = parts_of(2, 5, 4, 16)
    with pytest.raises(ValueError, match="lse_layout = 'bt'"):
        seesaw.merge_states(outs, lses, lse_layout="bt")
    with pytest.raises(ValueError, match="1 outs and 2 lses"):
        seesaw.merge_states(outs[:1], lses, lse_layout="th")
    with pytest.raises(ValueError, match="outs has rank 3, allowed: 4"):
        seesaw.merge_states(outs, lses, lse_layout="bhs")
    with pytest.raises(ValueError, match="lses has shape"):
        seesaw.merge_states(outs, lses, lse_layout="ht")
    with pytest.raises(TypeError, match="outs has dtype"):
        seesaw.merge_states([outs[0], outs[1].astype(np.float16)], lses, lse_layout="th")
    with pytest.raises(TypeError, match="outs of type dict, allowed: a list or a tuple of arrays"):
        seesaw.merge_states(dict(enumerate(outs)), lses, lse_layout="th")
