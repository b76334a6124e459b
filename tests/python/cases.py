"""Random problems as NumPy arrays, and their answer in float64 by other code than the library's."""

from dataclasses import dataclass, field

import numpy as np
import pytest

SCALE = 192**-0.5
FLOAT = 2.0**-24  # unit roundoff
ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": FLOAT}
LEAST = {"bfloat16": 2.0**-118, "float16": 2.0**-14, "float32": 2.0**-102}  # at full precision
POISON = float("nan")


@dataclass
class Allowed:
    """The largest errors of out and LSE, by element."""

    out: np.ndarray
    lse: np.ndarray


class Expected(tuple):
    """(out, lse), and what they may be off by."""

    def __new__(cls, results, allowed):
        made = super().__new__(cls, results)
        made.allowed = allowed
        return made


@dataclass
class Case:
    """Pages are in random order; unused slots, unused page ids and outputs are poisoned."""

    seq_lens: list
    s_q: int = 1
    h_q: int = 16
    h_kv: int = 1
    d_qk: int = 576
    d_v: int = 512
    page_size: int = 64
    causal: bool = False
    dtype: str = "float32"
    spare_pages: int = 2
    seed: int = 0
    kv_sigma: float = 0.1  # of latents in the field's own suites
    q: np.ndarray = field(init=False)
    kv_cache: np.ndarray = field(init=False)
    block_table: np.ndarray = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        lengths = [max(length, 0) for length in self.seq_lens]
        pages = [-(-length // self.page_size) for length in lengths]
        width = max([*pages, 1]) + 1
        num_pages = sum(pages) + self.spare_pages
        dtype = numpy_dtype(self.dtype)
        b = len(lengths)
        self.q = rng.standard_normal((b, self.s_q, self.h_q, self.d_qk)).astype(dtype)
        self.kv_cache = np.full((num_pages, self.page_size, self.h_kv, self.d_qk), POISON, dtype)
        self.block_table = np.full((b, width), -(2**30), np.int32)
        free = iter(rng.permutation(num_pages))
        for i, length in enumerate(lengths):
            for p in range(pages[i]):
                page = next(free)
                self.block_table[i, p] = page
                used = min(self.page_size, length - p * self.page_size)
                values = rng.standard_normal((used, self.h_kv, self.d_qk)) * self.kv_sigma
                self.kv_cache[page, :used] = values.astype(dtype)

    @property
    def lengths(self):
        return np.array(self.seq_lens, np.int32)

    @property
    def arrays(self):
        return self.q, self.kv_cache, self.block_table, self.lengths

    def poisoned_outputs(self):
        b, s_q, h_q, _ = self.q.shape
        out = np.full((b, s_q, h_q, self.d_v), POISON, self.q.dtype)
        return out, np.full((b, h_q, s_q), POISON, np.float32)

    def expected(self, scale=SCALE):
        """(out, lse) in float64, with what the contract allows each element."""
        b, s_q, h_q, _ = self.q.shape
        out = np.zeros((b, s_q, h_q, self.d_v))
        lse = np.full((b, h_q, s_q), -np.inf)
        allowed = Allowed(np.zeros_like(out), np.zeros((b, h_q, s_q)))
        group = h_q // self.h_kv
        for i, length in enumerate(self.seq_lens):
            length = max(length, 0)
            pages = self.block_table[i, : -(-length // self.page_size)]
            keys = self.kv_cache[pages].reshape(-1, self.h_kv, self.d_qk)[:length]
            keys = keys.astype(np.float64)
            for t in range(s_q):
                visible = max(length - s_q + t + 1, 0) if self.causal else length
                for h in range(h_q if visible else 0):
                    k = keys[:visible, h // group]
                    scores = scale * (k @ self.q[i, t, h].astype(np.float64))
                    top = scores.max()
                    weights = np.exp(scores - top)
                    total = weights.sum()
                    out[i, t, h] = weights @ k[:, : self.d_v] / total
                    lse[i, h, t] = top + np.log(total)
                    query = np.abs(self.q[i, t, h].astype(np.float64))
                    magnitude = abs(scale) * (np.abs(k) @ query).max()
                    values = np.abs(k[:, : self.d_v])
                    allowed.out[i, t, h], allowed.lse[i, h, t] = self._allowed(
                        (out[i, t, h], lse[i, h, t]), weights, values, magnitude
                    )
        return Expected((out, lse), allowed)

    def _allowed(self, expected, weights, values, magnitude):
        """The bounds of docs/guide/06-numerics.md for a row, under its names."""
        out, lse = expected
        unit, total = ROUNDOFF[self.dtype], weights.sum()
        partials = FLOAT if self.dtype == "float32" else 2.0**-11
        epsilon = (self.d_qk + 8) * FLOAT * magnitude
        sigma = (35 / 32 * len(weights) + 16) * FLOAT
        omega = np.expm1(epsilon) + sigma
        grown = np.exp(epsilon) * (1 + 2 * sigma)
        errors = weights * (omega + partials) + np.maximum(weights, LEAST[self.dtype]) * unit
        of_sum = grown * (1 + unit) / total * (errors @ values)
        least = unit * LEAST[self.dtype] + partials * 2.0**-28 * of_sum.max()
        of_out = of_sum + least + (grown * omega + unit + FLOAT) * np.abs(out)
        of_lse = epsilon + sigma * (1 + 2 * sigma) + 4 * FLOAT * (1 + np.log(total) + abs(lse))
        return of_out, of_lse


def numpy_dtype(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def assert_close(got, expected, infinity=-np.inf):
    """The bounds of docs/contract.md, at every element; of a part of the expected results, which is
    a plain tuple, those of FlashMLA's suite, whose values these are like."""
    out, lse = (np.asarray(array).astype(np.float64) for array in got)
    expected_out, expected_lse = expected
    assert out.shape == expected_out.shape
    assert lse.shape == expected_lse.shape
    if isinstance(expected, Expected):
        allowed = expected.allowed
    else:
        allowed = Allowed(
            8e-4 + 2 / 128 * np.abs(expected_out), 1e-6 + 8 / 65536 * np.abs(expected_lse)
        )
    assert np.isfinite(out).all()
    assert (np.abs(out - expected_out) <= allowed.out).all(), np.abs(out - expected_out).max()
    empty = np.isinf(expected_lse)
    assert (lse[empty] == infinity).all()
    error = np.abs(lse[~empty] - expected_lse[~empty])
    assert (error <= allowed.lse[~empty]).all(), error.max()
