"""Random sparse problems as NumPy arrays, and their answer in float64 by other code than the
library's."""

import numpy as np
from cases import SCALE, numpy_dtype
from format_model import MODELS, Pool

POISON = float("nan")


class Cache:
    """A paged cache and lists [b, s_q, topk] of its slots. Slots that no list names are NaN; some
    entries are -1 or no slots, some are named twice."""

    def __init__(self, lists, name, columns, page_size=64, pages=4, seed=0, lengths=None):
        rng = np.random.default_rng(seed)
        slots = pages * page_size
        strangers = [-1, slots, -(2**31), 2**31 - 1]
        self.indices = rng.integers(0, slots, lists).astype(np.int32)
        strange = rng.random(lists) < 0.2
        self.indices[strange] = rng.choice(strangers, strange.sum())
        self.topk_length = lengths
        self.numbers = np.full((slots, columns), POISON)
        live = np.unique(np.concatenate([self.listed(i, t) for i, t in np.ndindex(lists[:2])]))
        values = (rng.standard_normal((len(live), columns)) * 0.1).astype(np.float32)
        if name in MODELS:
            model, pool = MODELS[name], Pool(MODELS[name], pages, page_size)
            parts, written, _ = model.encode(values)
            pool.put(live, parts, written)
            self.numbers[live] = model.decode(parts)
            self.array = np.ascontiguousarray(pool.view)[:, :, None]
        else:
            flat = np.full((slots, columns), POISON, numpy_dtype(name))
            flat[live] = values.astype(flat.dtype)
            self.numbers[live] = flat[live].astype(np.float64)
            self.array = flat.reshape(pages, page_size, 1, columns)

    def listed(self, sequence, token):
        """The slots of a list that are there and count."""
        count = self.indices.shape[2]
        if self.topk_length is not None:
            count = np.clip(self.topk_length[sequence], 0, count)
        slots = self.indices[sequence, token, :count]
        return slots[(slots >= 0) & (slots < len(self.numbers))]


def attend(q, caches, scale=SCALE, sinks=None, d_v=512):
    """(out, lse, max_logits) of q [b, s_q, h_q, d_qk] over one softmax of all caches."""
    b, s_q, h_q, _ = q.shape
    out = np.zeros((b, s_q, h_q, d_v))
    lse = np.full((b, h_q, s_q), -np.inf)
    largest = np.full((b, h_q, s_q), -np.inf)
    for i, t in np.ndindex(b, s_q):
        keys = np.concatenate([cache.numbers[cache.listed(i, t)] for cache in caches])
        if not len(keys):
            continue
        scores = scale * (q[i, t].astype(np.float64) @ keys.T)  # [h_q, tokens]
        largest[i, :, t] = scores.max(1)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        lse[i, :, t] = scores.max(1) + np.log(weights.sum(1))
        out[i, t] = weights @ keys[:, :d_v] / weights.sum(1, keepdims=True)
        if sinks is not None:
            with np.errstate(over="ignore"):
                out[i, t] /= 1 + np.exp(sinks[:, None].astype(np.float64) - lse[i, :, t, None])
    return out, lse, largest


def query(shape, dtype="float32", seed=9):
    return np.random.default_rng(seed).standard_normal(shape).astype(numpy_dtype(dtype))


def assert_near(got, expected, infinity=-np.inf):
    """The bounds of FlashMLA's suite, whose values these are like; -inf of LSEs is `infinity`."""
    out, expected_out = np.asarray(got[0]).astype(np.float64), expected[0]
    assert out.shape == expected_out.shape
    assert (np.abs(out - expected_out) <= 8e-4 + 2 / 128 * np.abs(expected_out)).all()
    for number, (mine, want) in enumerate(zip(got[1:], expected[1:])):
        mine = np.asarray(mine).astype(np.float64)
        want = np.where(np.isinf(want), infinity, want) if number == 0 else want
        np.testing.assert_allclose(mine, want, rtol=8 / 65536, atol=1e-5)
