"""Random problems as NumPy arrays, and their answer in float64 by other code than the library's."""

from dataclasses import dataclass, field

import numpy as np

SCALE = 192**-0.5
POISON = float("nan")


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
                # The size of latents in the field's own suites, which the bounds are for.
                values = rng.standard_normal((used, self.h_kv, self.d_qk)) / 10
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
        """(out, lse) in float64."""
        b, s_q, h_q, _ = self.q.shape
        out = np.zeros((b, s_q, h_q, self.d_v))
        lse = np.full((b, h_q, s_q), -np.inf)
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
        return out, lse


def numpy_dtype(name):
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def assert_close(got, expected, infinity=-np.inf):
    """The bounds of docs/contract.md, at every element."""
    out, lse = (np.asarray(array).astype(np.float64) for array in got)
    expected_out, expected_lse = expected
    assert out.shape == expected_out.shape
    assert lse.shape == expected_lse.shape
    bound = 8e-4 + 2 / 128 * np.abs(expected_out)
    assert np.isfinite(out).all()
    assert (np.abs(out - expected_out) <= bound).all(), np.abs(out - expected_out).max()
    empty = np.isinf(expected_lse)
    assert (lse[empty] == infinity).all()
    error = np.abs(lse[~empty] - expected_lse[~empty])
    assert (error <= 1e-6 + 8 / 65536 * np.abs(expected_lse[~empty])).all(), error.max()
