"""Cases of a comparison: shapes, and tensors of the kind that the field's own benchmarks use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Tuple

import torch

D_QK, D_V = 576, 512
SCALE = 192**-0.5
PAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class Shape:
    b: int
    s_q: int
    h_q: int
    s_k: int
    varlen: bool = False
    causal: bool = False
    dtype: str = "bfloat16"
    page_size: int = 64

    def lengths(self) -> List[int]:
        """All s_k; or normal around s_k with a deviation of s_k / 2, at least s_q."""
        if not self.varlen:
            return [self.s_k] * self.b
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(self.b, generator=generator) * (self.s_k / 2) + self.s_k
        return drawn.clamp(self.s_q, 2 * self.s_k).int().tolist()

    def __str__(self) -> str:
        flags = (" var" if self.varlen else "") + (" causal" if self.causal else "")
        return f"b {self.b}, s_q {self.s_q}, h_q {self.h_q}, s_k {self.s_k}{flags}"


class Inputs:
    """Tensors of a shape: randn / 10 within 1, pages in random order."""

    def __init__(self, shape: Shape, device: str) -> None:
        self.shape = shape
        self.scale = SCALE
        self.lengths = shape.lengths()
        self.device = torch.device(device)
        dtype = getattr(torch, shape.dtype)
        generator = torch.Generator(device).manual_seed(1)

        def normal(*extents: int) -> torch.Tensor:
            drawn = torch.randn(extents, generator=generator, device=device, dtype=torch.float32)
            return (drawn / 10).clamp_(-1, 1).to(dtype)

        self.width = -(-max(self.lengths) // shape.page_size)
        num_pages = shape.b * self.width
        self.q = normal(shape.b, shape.s_q, shape.h_q, D_QK)
        self.kv_cache = torch.empty(
            (num_pages, shape.page_size, 1, D_QK), dtype=dtype, device=device
        )
        for pages in self.kv_cache.split(PAGES_AT_ONCE):  # float32 for some of them at a time
            pages.copy_(normal(*pages.shape))
        order = torch.randperm(num_pages, generator=torch.Generator().manual_seed(2))
        self.block_table = order.int().view(shape.b, self.width).to(device)
        self.seq_lens = torch.tensor(self.lengths, dtype=torch.int32, device=device)

    @property
    def arrays(self) -> Tuple[torch.Tensor, ...]:
        return self.q, self.kv_cache, self.block_table, self.seq_lens

    @property
    def flops(self) -> float:
        """As the field counts: full products over the lengths, padding and masks not."""
        return 2.0 * self.shape.s_q * self.shape.h_q * sum(self.lengths) * (D_QK + D_V)

    @property
    def bytes(self) -> float:
        rows = self.shape.b * self.shape.s_q * self.shape.h_q
        return float(self.q.element_size()) * (sum(self.lengths) * D_QK + rows * (D_QK + D_V))

    def reference(self) -> Tuple[torch.Tensor, torch.Tensor]:
        """(out, lse) in float32 or better, one sequence at a time."""
        shape = self.shape
        wide = torch.float64 if self.device.type == "cpu" else torch.float32
        out = torch.zeros((*self.q.shape[:3], D_V), dtype=wide, device=self.device)
        lse = torch.empty((shape.b, shape.h_q, shape.s_q), dtype=wide, device=self.device)
        for i, length in enumerate(self.lengths):
            pages = self.block_table[i, : -(-length // shape.page_size)].long()
            keys = self.kv_cache[pages].reshape(-1, D_QK)[:length].to(wide)
            scores = SCALE * torch.einsum("thd,kd->htk", self.q[i].to(wide), keys)
            if shape.causal:
                scores += causal_bias(shape.s_q, length, self.device)
            lse[i] = torch.logsumexp(scores, dim=-1)
            out[i] = torch.einsum("htk,kd->thd", torch.softmax(scores, -1), keys[:, :D_V])
        return out, lse


def causal_bias(s_q: int, length: int, device: torch.device) -> torch.Tensor:
    """[s_q, length]: -inf where query token t does not see the key, bottom-right aligned."""
    token = torch.arange(s_q, device=device)[:, None]
    key = torch.arange(length, device=device)[None, :]
    bias = torch.zeros((s_q, length), device=device)
    return bias.masked_fill_(key > length - s_q + token, float("-inf"))
