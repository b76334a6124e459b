"""What dense_decode takes besides: windows, tree masks, sinks, soft caps, largest logits, ragged
queries. Against a definition in float64 by other code than the library's."""

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case


def keys_of(case, sequence):
    """[length, d_qk] of one KV head."""
    length = max(case.seq_lens[sequence], 0)
    pages = case.block_table[sequence, : -(-length // case.page_size)]
    return case.kv_cache[pages, :, 0].reshape(-1, case.d_qk)[:length].astype(np.float64)


def row(query, keys, seen, scale, soft_cap=None, sink=-np.inf, d_v=512):
    """(out, lse, max_logit) of one query token of one head."""
    if not seen.any():
        return np.zeros(d_v), -np.inf, -np.inf
    scores = scale * (keys[seen] @ query.astype(np.float64))
    if soft_cap is not None:
        scores = soft_cap * np.tanh(scores / soft_cap)
    weights = np.exp(scores)
    out = weights @ keys[seen, :d_v] / (weights.sum() + np.exp(sink))
    return out, np.log(weights.sum()), scores.max()


def expected(case, queries, *, window=0, tree_mask=None, sinks=None, soft_cap=None):
    """Of sequences' query tokens [tokens, h_q, d_qk], one array a sequence: lists of [tokens, h_q,
    d_v] and twice [h_q, tokens]. tree_mask: [tokens, bytes], one array a sequence."""
    outs, lses, largest = [], [], []
    for i, tokens in enumerate(queries):
        keys = keys_of(case, i)
        first = len(keys) - len(tokens)
        position = np.arange(len(keys))
        made = np.empty((len(tokens), case.h_q), object)
        for t in range(len(tokens)):
            seen = np.ones(len(keys), bool)
            if case.causal:
                seen &= position <= first + t
            if window:
                seen &= position > first + t - window
            if tree_mask is not None:
                bits = np.unpackbits(tree_mask[i][t], bitorder="little").astype(bool)
                seen &= (position < first) | bits[np.maximum(position - first, 0)]
            for h in range(case.h_q):
                sink = -np.inf if sinks is None else sinks[h]
                made[t, h] = row(tokens[t, h], keys, seen, SCALE, soft_cap, sink)
        each = [
            [[made[t, h][part] for h in range(case.h_q)] for t in range(len(tokens))]
            for part in range(3)
        ]
        outs.append(np.array(each[0]).reshape(len(tokens), case.h_q, case.d_v))
        lses.append(np.array(each[1]).reshape(len(tokens), case.h_q).T)
        largest.append(np.array(each[2]).reshape(len(tokens), case.h_q).T)
    return outs, lses, largest


def assert_near(got, wanted):
    for result, reference in zip(got, wanted):
        np.testing.assert_allclose(result, reference, rtol=2e-5, atol=2e-6)


def some_tree(case, rng):
    return rng.integers(0, 256, (len(case.seq_lens), case.s_q, 2), np.uint8)


@pytest.fixture(name="everything")
def _everything():
    """(case, arguments) of all at once."""
    rng = np.random.default_rng(1)
    case = Case([200, 70, 5, 0], s_q=5, h_q=6, causal=True)
    return case, {
        "window": 60,
        "tree_mask": some_tree(case, rng),
        "sinks": rng.standard_normal(6).astype(np.float32),
        "soft_cap": 1.5,
    }


@pytest.mark.parametrize("name", ["window", "tree_mask", "sinks", "soft_cap", None])
def test_agrees_with_float64(everything, name):
    case, asked = everything
    asked = {key: value for key, value in asked.items() if name in (None, key)}
    got = seesaw.dense_decode(
        *case.arrays, scale=SCALE, causal=True, return_max_logits=True, **asked
    )
    wanted = expected(case, case.q, **asked)
    assert len(got) == 3
    assert_near(got, [np.stack(part) for part in wanted])


def test_ragged_queries(everything):
    case, asked = everything
    counts = [3, 5, 0, 1]
    queries = [case.q[i, :count] for i, count in enumerate(counts)]
    trees = [asked["tree_mask"][i, :count] for i, count in enumerate(counts)]
    arguments = {**asked, "tree_mask": np.concatenate(trees)}
    begins = np.cumsum([0, *counts]).astype(np.int32)
    q = np.concatenate(queries)
    got = seesaw.dense_decode(
        q,
        *case.arrays[1:],
        scale=SCALE,
        causal=True,
        cu_seqlens_q=begins,
        s_q=5,
        return_max_logits=True,
        **arguments,
    )
    wanted = expected(case, queries, **{**asked, "tree_mask": trees})
    assert_near(got, [np.concatenate(wanted[0]), *(np.concatenate(w, 1) for w in wanted[1:])])


def test_a_schedule_has_room_for_what_its_problem_names(everything):
    case, asked = everything
    problem = seesaw.Problem.of(
        *case.arrays[:3],
        causal=True,
        window=60,
        tree_mask=True,
        sinks=True,
        soft_cap=True,
        max_logits=True,
    )
    schedule = seesaw.make_schedule(problem, case.lengths)
    tensors = {name: asked[name] for name in ("tree_mask", "sinks", "soft_cap")}
    out = np.full((4, 5, 6, 512), np.nan, np.float32)
    lse, max_logits = (np.full((4, 6, 5), np.nan, np.float32) for _ in range(2))
    seesaw.dense_decode(
        *case.arrays,
        scale=SCALE,
        schedule=schedule,
        out=out,
        lse=lse,
        max_logits=max_logits,
        **tensors,
    )
    assert_near((out, lse, max_logits), map(np.stack, expected(case, case.q, **asked)))
    plain = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths)
    with pytest.raises(ValueError, match="sinks given with sinks = 0, allowed"):
        seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=plain, sinks=asked["sinks"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": -1}, "window = -1, allowed: 0 to"),
        ({"soft_cap": -1.0}, "soft_cap = -1, allowed"),
        ({"sinks": np.zeros(5, np.float32)}, r"sinks has shape \[5\], allowed"),
        ({"sinks": np.zeros(6)}, "sinks has dtype float64, allowed"),
        ({"tree_mask": np.zeros((4, 5, 0), np.uint8)}, "tree_mask has 0 bytes"),
        ({"tree_mask": np.zeros((4, 5, 1), np.int32)}, "tree_mask has dtype int32, allowed"),
        ({"cu_seqlens_q": np.zeros(5, np.int32), "s_q": 5}, "q has rank 4, allowed"),
    ],
)
def test_mistakes(everything, given, message):
    case, _ = everything
    with pytest.raises((ValueError, TypeError), match=message):
        seesaw.dense_decode(*case.arrays, scale=SCALE, **given)


def test_mistakes_of_ragged_queries():
    case = Case([20, 9], s_q=3, h_q=2)
    q = case.q.reshape(6, 2, 576)
    rest = case.arrays[1:]

    def run(begins, **more):
        begins = np.array(begins, np.int32)
        return seesaw.dense_decode(q, *rest, scale=SCALE, cu_seqlens_q=begins, **more)

    with pytest.raises(ValueError, match="cu_seqlens_q without s_q"):
        run([0, 3, 6])
    with pytest.raises(ValueError, match=r"cu_seqlens_q\[1\] = 4, allowed: 0 to 3"):
        run([0, 4, 6], s_q=3)
    with pytest.raises(ValueError, match=r"cu_seqlens_q has shape \[2\]"):
        run([0, 3], s_q=3)
    with pytest.raises(ValueError, match="s_q = 4, allowed: 3, as in the schedule"):
        problem = seesaw.Problem(
            batch=2, s_q=3, h_q=2, max_pages_per_sequence=case.block_table.shape[1], ragged=True
        )
        run([0, 3, 6], s_q=4, schedule=seesaw.make_schedule(problem, case.lengths))
