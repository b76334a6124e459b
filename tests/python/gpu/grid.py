"""Cases on a GPU and their float64 answer, computed there by PyTorch."""

from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch

SCALE = 192**-0.5
DEVICE = "cuda:0"


@dataclass(frozen=True)
class Shape:
    b: int
    s_q: int
    s_k: int
    h_q: int
    h_kv: int = 1
    varied: bool = False
    causal: bool = False
    dtype: torch.dtype = torch.bfloat16
    page_size: int = 64
    d_qk: int = 576
    seed: int = 0

    def __str__(self) -> str:
        flags = ("-varied" if self.varied else "") + ("-causal" if self.causal else "")
        dtype = str(self.dtype).replace("torch.", "")
        return (
            f"b{self.b}-s_q{self.s_q}-s_k{self.s_k}-h_q{self.h_q}-h_kv{self.h_kv}-"
            f"page{self.page_size}-d{self.d_qk}-{dtype}{flags}"
        )


def sample_of_the_grid(count: int, seed: int = 0) -> list:
    """A sample of the full grid, the same on every run: its extremes first."""
    rng = np.random.default_rng(seed)
    axes = dict(
        b=[1, 2, 6, 64, 128],
        s_q=[1, 2, 3, 4, 5],
        s_k=[0, 1, 20, 63, 64, 65, 140, 4096],
        h_q=[1, 3, 9, 16, 63, 64, 126, 128],
        h_kv=[1, 2, 3],
        varied=[False, True],
        causal=[False, True],
        dtype=[torch.bfloat16, torch.float16],
    )
    shapes = [
        Shape(128, 1, 4096, 128),
        Shape(1, 5, 4096, 128, causal=True),
        Shape(128, 2, 140, 16, varied=True, causal=True),
        Shape(6, 1, 0, 1),
        Shape(64, 3, 64, 126, h_kv=3, varied=True, causal=True),
    ]
    while len(shapes) < count:
        chosen = {name: values[rng.integers(len(values))] for name, values in axes.items()}
        if chosen["h_q"] % chosen["h_kv"] == 0:
            shapes.append(Shape(**chosen, seed=len(shapes)))
    return shapes


class GpuCase:
    """Tensors of a shape; pages in random order, unused slots NaN, unused ids out of range."""

    def __init__(self, shape: Shape, lengths: Optional[list] = None, device: str = DEVICE) -> None:
        self.shape = shape
        rng = np.random.default_rng(shape.seed)
        if lengths is None:
            low = 0 if shape.varied else shape.s_k
            lengths = rng.integers(low, shape.s_k + 1, shape.b).tolist()
        page = shape.page_size
        width = max(-(-max(lengths, default=0) // page), 1)
        num_pages = sum(-(-length // page) for length in lengths) + 1
        table = np.full((shape.b, width), 2**30, np.int32)
        order = iter(rng.permutation(num_pages))
        generator = torch.Generator(device).manual_seed(shape.seed)

        def normal(*extents: int) -> torch.Tensor:
            return torch.randn(extents, generator=generator, device=device)

        cache = normal(num_pages, page, shape.h_kv, shape.d_qk) / 10
        for i, length in enumerate(lengths):
            for p in range(-(-length // page)):
                table[i, p] = next(order)
            if length % page:
                cache[table[i, length // page], length % page :] = float("nan")
        self.q = normal(shape.b, shape.s_q, shape.h_q, shape.d_qk).to(shape.dtype)
        self.kv_cache = cache.to(shape.dtype)
        self.block_table = torch.from_numpy(table).to(device)
        self.seq_lens = torch.tensor(lengths, dtype=torch.int32, device=device)

    @property
    def arrays(self) -> tuple:
        return self.q, self.kv_cache, self.block_table, self.seq_lens

    def poisoned_outputs(self) -> tuple:
        shape = self.shape
        out = self.q.new_full((shape.b, shape.s_q, shape.h_q, 512), float("nan"))
        lse = self.seq_lens.new_full(
            (shape.b, shape.h_q, shape.s_q), float("nan"), dtype=torch.float32
        )
        return out, lse

    def expected(self, scale: float = SCALE) -> tuple:
        """(out, lse) in float64, one sequence at a time."""
        shape = self.shape
        device = self.q.device
        out = torch.zeros((shape.b, shape.s_q, shape.h_q, 512), dtype=torch.float64, device=device)
        lse = torch.full(
            (shape.b, shape.h_q, shape.s_q), -torch.inf, dtype=torch.float64, device=device
        )
        group = shape.h_q // shape.h_kv
        for i, length in enumerate(self.seq_lens.tolist()):
            if length == 0:
                continue
            pages = self.block_table[i, : -(-length // shape.page_size)].long()
            keys = self.kv_cache[pages].flatten(0, 1)[:length].double()  # [length, h_kv, d_qk]
            keys = keys.repeat_interleave(group, dim=1)
            scores = scale * torch.einsum("thd,khd->htk", self.q[i].double(), keys)
            if shape.causal:
                token = torch.arange(shape.s_q, device=device)[:, None]
                key = torch.arange(length, device=device)[None, :]
                scores.masked_fill_(key > length - shape.s_q + token, -torch.inf)
            lse[i] = torch.logsumexp(scores, dim=-1)
            weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
            out[i] = torch.einsum("htk,khd->thd", weights, keys[..., :512])
        return out, lse


def assert_close(got: tuple, expected: tuple, infinity: float = float("-inf")) -> None:
    """The bounds of docs/contract.md, at every element."""
    out, lse = (tensor.double() for tensor in got)
    expected_out, expected_lse = expected
    assert bool(torch.isfinite(out).all())
    error = (out - expected_out).abs()
    assert bool((error <= 8e-4 + 2 / 128 * expected_out.abs()).all()), error.max().item()
    empty = torch.isinf(expected_lse)
    assert bool((lse[empty] == infinity).all())
    error = (lse[~empty] - expected_lse[~empty]).abs()
    bound = 1e-6 + 8 / 65536 * expected_lse[~empty].abs()
    assert bool((error <= bound).all()), error.max().item()
