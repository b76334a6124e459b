#!/usr/bin/env python3
"""Predicted times of sm80.dense_decode on GPUs that it has not been measured on.

    python bench/predict.py                                       the shapes of bench/compare.py
    python bench/predict.py --gpu a100 --batch 8 --heads 64 --length 4096 --json

The model has three numbers, fitted to the kernel's own record on an H200 each time this runs
(docs/predictions.md says what they mean and how well they fit there); the rest are the vendor's
figures of each GPU. Nothing here is a measurement of the GPUs that it names but the H200. Needs
nothing but Python's standard library.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[1]
RECORD = "h200/*-rivals-sm80.json"

D_QK, D_V, BYTES = 576, 512, 2
# src/attention/sm80: tiles of 16 or 32 query rows; an SM has two blocks of 16, where two have room
# for two tiles of the cache each, else one; or one of 32.
TILE_TOKENS = 32
SM_ROWS = 32
TILE_KB = TILE_TOKENS * D_QK * BYTES / 1024


@dataclass(frozen=True)
class Gpu:
    """What its maker says of a GPU: peaks at the boost clock, without sparsity."""

    name: str
    title: str
    sms: int
    boost_mhz: int
    read_gbps: float
    bf16_tflops: float  # products of bf16, sums in float32
    shared_kb: int  # of a thread block, at most: CUDA programming guide, compute capabilities
    source: str

    @property
    def product_clocks(self) -> float:
        """That the tensor cores of an SM need for a tile of SM_ROWS rows, at their peak."""
        flops = 2.0 * SM_ROWS * TILE_TOKENS * (D_QK + D_V)
        return flops * self.sms * self.boost_mhz * 1e6 / (self.bf16_tflops * 1e12)

    @property
    def blocks_of_16_rows(self) -> int:
        """That an SM has at once."""
        return 2 if self.shared_kb / 2 > 2 * TILE_KB else 1


GPUS: Tuple[Gpu, ...] = (
    Gpu("h200", "H200 SXM", 132, 1980, 4800, 989.5, 227,
        "NVIDIA, H200 datasheet; SMs and clock: H100 architecture whitepaper"),
    Gpu("a100", "A100 SXM 80 GB", 108, 1410, 2039, 312.0, 163,
        "NVIDIA, A100 datasheet and A100 architecture whitepaper"),
    Gpu("l40s", "L40S", 142, 2520, 864, 362.05, 99, "NVIDIA, L40S datasheet"),
    Gpu("rtx4090", "RTX 4090", 128, 2520, 1008, 165.2, 99, "NVIDIA, Ada architecture whitepaper"),
    Gpu("rtx5090", "RTX 5090", 170, 2407, 1792, 209.5, 99, "NVIDIA, RTX Blackwell whitepaper"),
)  # fmt: skip
MEASURED = GPUS[0]
PREDICTED = GPUS[1:]


@dataclass(frozen=True)
class Shape:
    """Dense decoding in bf16: d_qk 576, d_v 512, pages of 64."""

    b: int
    h_q: int
    s_k: int
    s_q: int = 1

    @property
    def bytes(self) -> int:
        """The cache once, queries and outputs."""
        rows = self.b * self.s_q * self.h_q
        return BYTES * (self.b * self.s_k * D_QK + rows * (D_QK + D_V))

    def tiles(self, gpu: Gpu) -> float:
        """Of SM_ROWS rows; one of 16 is half where an SM has two at once."""
        rows = self.s_q * self.h_q
        row_tiles = (
            1 / gpu.blocks_of_16_rows if rows <= SM_ROWS // 2 else math.ceil(rows / SM_ROWS)
        )
        return self.b * math.ceil(self.s_k / TILE_TOKENS) * row_tiles


def shapes() -> Iterator[Shape]:
    """Those of bench/python/on_gpu.sh's comparison."""
    for b, h_q, s_k in itertools.product((1, 4, 16, 64, 128), (16, 128), (1024, 8192, 32768)):
        yield Shape(b, h_q, s_k)


@dataclass(frozen=True)
class Model:
    """us = fixed + max(bytes / (read_share * bandwidth), tiles of an SM * clocks of a tile)."""

    fixed_clocks: float  # of a call: launch, first tiles, combine
    read_share: float  # of the bandwidth that is reached
    tile_clocks: float  # of a tile of SM_ROWS rows on an SM, on the H200

    def terms(self, gpu: Gpu, shape: Shape) -> Dict[str, float]:
        """Microseconds by what they are for. Slower tensor cores add what they need longer, as
        nothing runs beside the products of a block."""
        slower = max(0.0, gpu.product_clocks - MEASURED.product_clocks)
        tiles_of_sm = max(1.0, shape.tiles(gpu) / gpu.sms)
        return {
            "fixed": self.fixed_clocks / gpu.boost_mhz,
            "reading": shape.bytes / (self.read_share * gpu.read_gbps * 1e3),
            "tiles": tiles_of_sm * (self.tile_clocks + slower) / gpu.boost_mhz,
        }

    def us(self, gpu: Gpu, shape: Shape) -> float:
        terms = self.terms(gpu, shape)
        return terms["fixed"] + max(terms["reading"], terms["tiles"])

    def bound_by(self, gpu: Gpu, shape: Shape) -> str:
        """The largest term."""
        terms = self.terms(gpu, shape)
        return max(terms, key=lambda name: terms[name])


def measured() -> Dict[Shape, float]:
    """Microseconds of sm80.dense_decode on the H200, calls back to back."""
    found = sorted((ROOT / "bench" / "results").glob(RECORD))
    if len(found) != 1:
        raise SystemExit(
            f"predict: {len(found)} records like {RECORD}, needed: one. Name it in bench/predict.py."
        )
    times = {}
    for item in json.loads(found[0].read_text())["results"]:
        case = item["case"]
        if not case["varlen"]:
            shape = Shape(case["b"], case["h_q"], case["s_k"], case["s_q"])
            times[shape] = item["us"]["sm80"]["burst"]
    return times


def errors(model: Model, times: Dict[Shape, float]) -> Dict[Shape, float]:
    """Of the model's times, as logarithms of their ratio to the measured ones."""
    return {shape: math.log(model.us(MEASURED, shape) / us) for shape, us in times.items()}


def fit(times: Dict[Shape, float]) -> Model:
    """Least squares of errors(), one number after another in steps that get smaller."""

    def loss(model: Model) -> float:
        return sum(error * error for error in errors(model, times).values())

    model = Model(fixed_clocks=30000.0, read_share=0.8, tile_clocks=4000.0)
    least, step = loss(model), 0.3
    while step > 1e-5:
        before = least
        for name, factor in itertools.product(asdict(model), (1 + step, 1 / (1 + step))):
            tried = replace(model, **{name: getattr(model, name) * factor})
            if loss(tried) < least:
                model, least = tried, loss(tried)
        if least == before:
            step /= 2
    return model


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def us_text(us: float) -> str:
    return f"{us:.1f}" if us < 100 else f"{us:,.0f}"


def tokens_text(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)


def prediction_table(gpus: Sequence[Gpu] = PREDICTED, of: Optional[Sequence[Shape]] = None) -> str:
    """Microseconds, and by what they are bound: r reading, t tiles, f what every call costs."""
    times = measured()
    model = fit(times)
    rows = []
    for shape in of or list(shapes()):
        cells = [f"{shape.b} × {tokens_text(shape.s_k)}", str(shape.h_q)]
        cells.append(us_text(times[shape]) if shape in times else "")
        cells += [
            f"{us_text(model.us(gpu, shape))} {model.bound_by(gpu, shape)[0]}" for gpu in gpus
        ]
        rows.append(cells)
    titles = [f"{gpu.title}, predicted" for gpu in gpus]
    return markdown(["sequences × tokens", "heads", f"{MEASURED.title}, measured", *titles], rows)


def fit_table() -> str:
    times = measured()
    model = fit(times)
    found = list(errors(model, times).values())
    rms = math.sqrt(sum(error * error for error in found) / len(found))
    return markdown(
        ["number", "fitted"],
        [["every call: launch, first tiles, combine", f"{model.fixed_clocks:,.0f} clocks"],
         ["share of the memory's bandwidth", f"{model.read_share:.2f}"],
         ["a tile of 32 rows on an SM", f"{model.tile_clocks:,.0f} clocks"],
         ["shapes of the record", str(len(found))],
         ["error there, root of the mean square", f"{100 * rms:.0f} %"],
         ["largest errors there",
          f"{100 * (math.exp(min(found)) - 1):+.0f} %, {100 * (math.exp(max(found)) - 1):+.0f} %"]],
    )  # fmt: skip


def gpu_table() -> str:
    return markdown(
        ["GPU", "SMs", "boost, MHz", "GB/s", "bf16 TFLOPS", "KB of shared memory", "by"],
        [[gpu.title, str(gpu.sms), f"{gpu.boost_mhz:,}", f"{gpu.read_gbps:,.0f}",
          f"{gpu.bf16_tflops:g}", str(gpu.shared_kb), gpu.source] for gpu in GPUS],
    )  # fmt: skip


def to_json(gpus: Sequence[Gpu], of: Sequence[Shape]) -> Dict[str, Any]:
    model = fit(measured())
    return {
        "kernel": "sm80.dense_decode",
        "kind": "predictions, not measurements",
        "record": RECORD,
        "model": asdict(model),
        "gpus": [asdict(gpu) for gpu in gpus],
        "results": [
            {"gpu": gpu.name, **asdict(shape), "predicted_us": model.us(gpu, shape),
             "bound_by": model.bound_by(gpu, shape)}
            for gpu in gpus for shape in of
        ],
    }  # fmt: skip


def chosen(names: Sequence[str]) -> List[Gpu]:
    known = {gpu.name: gpu for gpu in GPUS}
    for name in names:
        if name not in known:
            raise SystemExit(
                f"predict: --gpu {name}, known: {', '.join(known)}. Name one of them, or add its "
                "maker's figures to bench/predict.py."
            )
    return [known[name] for name in names]


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [gpu.name for gpu in PREDICTED]
    parser.add_argument("--gpu", nargs="+", default=names, help=", ".join(g.name for g in GPUS))
    for flag in ("--batch", "--heads", "--length"):
        parser.add_argument(flag, nargs="+", type=int, help="instead of the usual shapes")
    parser.add_argument("--json", action="store_true", help="for a program")
    arguments = parser.parse_args(argv)
    gpus = chosen(arguments.gpu)
    given = [arguments.batch, arguments.heads, arguments.length]
    if any(given) and not all(given):
        parser.error("only some of --batch, --heads and --length, needed: all or none. Add the rest.")
    if any(number < 1 for numbers in given for number in numbers or ()):
        parser.error("a shape below 1, allowed: 1 and more. Correct it.")
    of = [Shape(*shape) for shape in itertools.product(*given)] if all(given) else list(shapes())
    if arguments.json:
        print(json.dumps(to_json(gpus, of), indent=1))
    else:
        print("Predictions of bench/predict.py, not measurements; us, bound by r(eading), t(iles) or")
        print("f(ixed costs of a call). Model:\n")
        print(fit_table())
        print(prediction_table(gpus, of), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
