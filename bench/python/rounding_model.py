#!/usr/bin/env python3
"""Where the roundings of a dense-decoding kernel show: ours and FlashMLA's on the same inputs.

    python bench/python/rounding_model.py --heads 64 --pieces 16

A model in NumPy of what sm90.dense_decode and FlashMLA's kernel for Hopper keep in which type: one
sequence of 4096 keys after another in tiles of 64, probabilities in 16 bits, sums in float, partial
outputs of `--pieces` pieces merged. It differs from the kernels in the order of sums only, so it
says which rounding causes which error, and what another choice would be worth, without a GPU. Root
mean square and largest error against float64, beside FlashMLA's choice (a frame that follows the
maximum, float partials). `moved`: the share of (tile, 16 rows) whose outputs were multiplied because
a row's frame moved, which is what a frame that follows costs. Needs NumPy and ml_dtypes. Notebook
0072 has its results.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Tuple

import ml_dtypes
import numpy as np

TILE, D_QK, D_V, HALF = 64, 576, 512, 256
ROWS_OF_A_WARP = 16
LEAST = 1e-30  # in place of 0 under a logarithm


@dataclass(frozen=True)
class Choice:
    """What a kernel does with its roundings."""

    name: str
    slack: float  # how far a maximum may exceed the frame, in powers of two
    partials: str  # a key of PARTIALS
    rounded_sums: bool = False  # the sum of weights adds them after rounding


CHOICES = (
    Choice("FlashMLA: slack 0, float partials", 0, "float"),
    Choice("ours: slack 8, fp16 partials", 8, "fp16"),
    Choice("slack 8, float partials", 8, "float"),
    Choice("slack 8, fp16 partials, rounded sums", 8, "fp16", True),
    Choice("slack 8, float partials, rounded sums", 8, "float", True),
    Choice("slack 1, float partials", 1, "float"),
    Choice("slack 1, fp16 partials, rounded sums", 1, "fp16", True),
    Choice("slack 1, float partials, rounded sums", 1, "float", True),
    Choice("slack 1/4, fp16 partials, rounded sums", 0.25, "fp16", True),
    Choice("slack 1/4, float partials", 0.25, "float"),
    Choice("slack 1/4, float partials, rounded sums", 0.25, "float", True),
    Choice("slack 1/4, 3-bit exponents, rounded sums", 0.25, "3-bit exponents", True),
    Choice("slack 1/4, int16 partials, rounded sums", 0.25, "int16", True),
    Choice("slack 0, fp16 partials", 0, "fp16"),
    Choice("slack 0, float partials, rounded sums", 0, "float", True),
)


@dataclass(frozen=True)
class Draw:
    name: str
    dtype: type
    scale: float
    values: Callable[[np.random.Generator, Tuple[int, int]], np.ndarray]


def normal(sigma: float) -> Callable[[np.random.Generator, Tuple[int, int]], np.ndarray]:
    return lambda rng, shape: sigma * rng.standard_normal(shape)


def student(rng: np.random.Generator, shape: Tuple[int, int]) -> np.ndarray:
    return rng.standard_t(3, shape)


def draws() -> Iterator[Draw]:
    for name, dtype in (("bf16", ml_dtypes.bfloat16), ("fp16", np.float16)):
        yield Draw(f"{name} N(0,1) / 10", dtype, 192**-0.5, normal(0.1))
        yield Draw(f"{name} N(0,1)", dtype, 1 / 24, normal(1))
        yield Draw(f"{name} 3 N(0,1)", dtype, 0.0417, normal(3))
        yield Draw(f"{name} Student's t, 3 degrees", dtype, 192**-0.5, student)


def rounded(x: np.ndarray, dtype: type) -> np.ndarray:
    return x.astype(dtype).astype(np.float32)


def of_largest(out: np.ndarray) -> np.ndarray:
    """The power of two at or below each row's largest magnitude."""
    largest = np.abs(out).max(1, keepdims=True)
    return np.exp2(np.floor(np.log2(np.maximum(largest, LEAST)))).astype(np.float32)


def as_fp16(out: np.ndarray) -> np.ndarray:
    unit = of_largest(out) * np.float32(2.0**-14)
    return rounded(out / unit, np.float16) * unit


def as_int16(out: np.ndarray) -> np.ndarray:
    step = of_largest(out) * np.float32(2.0**-14)
    return np.rint(out / step) * step


def as_small_exponents(out: np.ndarray) -> np.ndarray:
    """A sign, 3 bits of exponent and 12 of fraction, with gradual underflow."""
    exponent = np.floor(np.log2(np.maximum(np.abs(out / of_largest(out)), LEAST)))
    step = np.exp2(np.maximum(exponent, -6) - 12).astype(np.float32) * of_largest(out)
    return np.rint(out / step) * step


PARTIALS: Dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float": lambda out: out,
    "fp16": as_fp16,
    "int16": as_int16,
    "3-bit exponents": as_small_exponents,
}


class Model:
    """The rows of one sequence by one choice."""

    def __init__(self, q: np.ndarray, keys: np.ndarray, draw: Draw, choice: Choice) -> None:
        self.keys, self.draw, self.choice = keys, draw, choice
        self.scores = (q @ keys.T) * np.float32(draw.scale * np.log2(np.e))
        self.moves: List[float] = []

    def piece(self, begin: int, end: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(frame, sum, output) of a run of keys."""
        rows = len(self.scores)
        frame = np.full(rows, -1e38, np.float32)
        total = np.zeros(rows, np.float32)
        out = np.zeros((rows, D_V), np.float32)
        for tile in range(begin, end, TILE):
            scores = self.scores[:, tile : tile + TILE]
            maximum = scores.max(1)
            grown = maximum - frame > self.choice.slack
            if tile > begin:
                self.moves.append(grown.reshape(-1, ROWS_OF_A_WARP).any(1).mean())
            new = np.where(grown, maximum, frame)
            factor = np.exp2(frame - new)
            frame = new
            weights = np.exp2(scores - frame[:, None])
            of_product = rounded(weights, self.draw.dtype)
            summed = of_product if self.choice.rounded_sums else weights
            total = total * factor + summed.sum(1, dtype=np.float32)
            out = out * factor[:, None] + of_product @ self.keys[tile : tile + TILE, :D_V]
        return frame, total, out

    def run(self, pieces: int) -> np.ndarray:
        tiles = len(self.keys) // TILE
        bounds = [tiles * i // pieces * TILE for i in range(pieces + 1)]
        parts = [self.piece(begin, end) for begin, end in zip(bounds[:-1], bounds[1:])]
        common = np.max([frame for frame, _, _ in parts], axis=0)
        total = np.zeros(len(common), np.float32)
        out = np.zeros((len(common), D_V), np.float32)
        for frame, of_part, values in parts:
            if pieces > 1:
                store = PARTIALS[self.choice.partials]
                halves = [store(values[:, :HALF]), store(values[:, HALF:])]
                values = np.concatenate(halves, axis=1)
            weight = np.exp2(frame - common)
            total += weight * of_part
            out += weight[:, None] * values
        return rounded(out / total[:, None], self.draw.dtype)


def exact(q: np.ndarray, keys: np.ndarray, scale: float) -> np.ndarray:
    scores = scale * (q.astype(np.float64) @ keys.T.astype(np.float64))
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights @ keys[:, :D_V].astype(np.float64) / weights.sum(1, keepdims=True)


def errors(draw: Draw, arguments: argparse.Namespace) -> Iterator[Tuple[Choice, float, float, float]]:
    """(choice, root mean square, largest error, share of moves)."""
    rng = np.random.default_rng(arguments.seed)
    cases = []
    for _ in range(arguments.sequences):
        q = rounded(draw.values(rng, (arguments.heads, D_QK)), draw.dtype)
        keys = rounded(draw.values(rng, (arguments.keys, D_QK)), draw.dtype)
        cases.append((q, keys, exact(q, keys, draw.scale)))
    for choice in CHOICES:
        found, moves = [], []
        for q, keys, truth in cases:
            model = Model(q, keys, draw, choice)
            found.append(model.run(arguments.pieces).astype(np.float64) - truth)
            moves += model.moves
        error = np.concatenate(found)
        yield choice, np.sqrt(np.mean(error**2)), np.abs(error).max(), np.mean(moves or [0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--heads", type=int, default=64, help="a multiple of 16")
    parser.add_argument("--keys", type=int, default=4096, help="a multiple of 64")
    parser.add_argument("--pieces", type=int, default=16, help="of a sequence; 1: not split")
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    for draw in draws():
        print(f"{draw.name}, {arguments.pieces} pieces")
        reference: Tuple[float, float] = (0.0, 0.0)
        for choice, rms, largest, moved in errors(draw, arguments):
            reference = reference if any(reference) else (rms, largest)
            print(
                f"  {choice.name:42} rms {rms:.3e} ({rms / reference[0]:.3f})"
                f"  max {largest:.2e} ({largest / reference[1]:.2f})  moved {moved:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
