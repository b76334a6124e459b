"""Rotary embedding (arXiv:2104.09864), with YaRN (arXiv:2309.00071) where the model has it."""

from __future__ import annotations

from math import ceil, floor, log, pi
from typing import Optional, Tuple

import torch

from seesaw._yarn import RopeScaling


def inverse_frequencies(
    d_rope: int, theta: float, yarn: RopeScaling, device: Optional[torch.device] = None
) -> torch.Tensor:
    """[d_rope / 2] float32: radians per position. With YaRN the slow ones are divided by the
    factor, the fast ones kept, those between interpolated linearly in their number (section 3.2).
    """
    numbers = torch.arange(0, d_rope, 2, dtype=torch.float32, device=device)
    fast = theta ** -(numbers / max(d_rope, 1))
    if yarn.factor == 0.0:
        return fast

    def number_of(rotations: float) -> float:
        # The frequency that makes so many rotations over the original context.
        length = yarn.original_max_position_embeddings / (rotations * 2 * pi)
        return d_rope * log(length) / (2 * log(theta))

    first = float(max(floor(number_of(yarn.beta_fast)), 0))
    last = float(min(ceil(number_of(yarn.beta_slow)), d_rope - 1))
    if first == last:
        last += 0.001  # the published code's guard against a division by 0
    ramp = ((torch.arange(d_rope // 2, device=device) - first) / (last - first)).clamp(0, 1)
    return fast / yarn.factor * ramp + fast * (1 - ramp)


def magnitude(yarn: RopeScaling) -> float:
    """What cosines and sines are multiplied by: YaRN's mscale over mscale_all_dim; else 1."""
    if yarn.factor <= 1.0:
        return 1.0
    step = 0.1 * log(yarn.factor)
    return (step * yarn.mscale + 1) / (step * yarn.mscale_all_dim + 1)


def cos_sin_of(
    positions: torch.Tensor, frequencies: torch.Tensor, factor: float
) -> Tuple[torch.Tensor, torch.Tensor]:
    """(cosines, sines) [..., d_rope / 2] float32 of positions [...]."""
    angles = positions.to(torch.float32)[..., None] * frequencies
    return angles.cos() * factor, angles.sin() * factor


def rotate(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool
) -> torch.Tensor:
    """x [..., d_rope] turned by cos, sin [..., d_rope / 2], in float32, rounded once to its dtype.

    interleaved: Columns 2i and 2i + 1 turn together; else i and i + d_rope / 2.
    """
    wide = x.to(torch.float32)
    if interleaved:
        first, second = wide[..., 0::2], wide[..., 1::2]
    else:
        first, second = wide.chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    joined = torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)
    return joined.to(x.dtype)
