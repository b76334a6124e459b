"""Pools of pages in the cache formats that benchmarks read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import c_abi
import torch


class Format(NamedTuple):
    number: int  # seesaw_format
    columns: int  # elements of a token
    d_qk: int
    dtype: int
    row_bytes: int
    page_alignment: int = 1  # elements that a page is a multiple of

    @property
    def q_type(self) -> torch.dtype:
        return torch.float16 if self.dtype == c_abi.FLOAT16 else torch.bfloat16

    @property
    def q_dtype(self) -> int:
        return c_abi.FLOAT16 if self.dtype == c_abi.FLOAT16 else c_abi.BFLOAT16

    def page_elements(self, page_size: int) -> int:
        return -(-page_size * self.columns // self.page_alignment) * self.page_alignment


FORMATS = {
    "bf16": Format(c_abi.BFLOAT16, 576, 576, c_abi.BFLOAT16, 1152),
    "fp16": Format(c_abi.FLOAT16, 576, 576, c_abi.FLOAT16, 1152),
    "fp8_656": Format(16, 656, 576, c_abi.UINT8, 656),
    "fp8_584": Format(17, 584, 512, c_abi.UINT8, 584, 576),
    "fp8_576": Format(18, 576, 576, c_abi.UINT8, 576),
}


def drawn_values(shape: Sequence[int], deviation: float) -> torch.Tensor:
    """Normal values within ten standard deviations."""
    values = torch.randn(*shape, device="cuda") * deviation
    return values.clamp_(-10 * deviation, 10 * deviation)


def make_pool(kind: Format, pool_bytes: int, page_size: int, deviation: float) -> torch.Tensor:
    """[pages, page_size, 1, columns]: normal values, or bytes without NaN: of these the time does not depend."""
    elements = kind.page_elements(page_size)
    pages = pool_bytes // (elements * (1 if kind.dtype == c_abi.UINT8 else 2))
    if kind.dtype != c_abi.UINT8:
        pool = torch.empty(pages, elements, dtype=kind.q_type, device="cuda")
        for part in pool.split(max(1, (256 << 20) // elements)):
            part.copy_(drawn_values(part.shape, deviation))
    else:
        pool = torch.randint(0, 0x3C, (pages, elements), dtype=torch.uint8, device="cuda")
    return pool.as_strided(
        (pages, page_size, 1, kind.columns), (elements, kind.columns, kind.columns, 1)
    )


def cache_view(pool: torch.Tensor, kind: Format) -> c_abi.View:
    return c_abi.View(pool.data_ptr(), pool.shape, kind.dtype, (c_abi.CUDA, 0), pool.stride())
