#!/usr/bin/env python3
"""Seesaw beside other libraries on the same tensors, in one process, interleaved.

    python bench/compare.py --device cuda --batch 1 16 128 --heads 16 128 --length 1024 8192 \\
        --csv compare.csv
    python bench/plot.py compare.csv --output figures

Backends that cannot be imported or do not do a shape are named and left out. The inputs are like
those of FlashMLA's suite, and every result is held against a float reference by that suite's bounds
(docs/contract.md, Accuracy); the exit status is 1 if one is outside. Preparation (schedules, plans, gathered pages) is not timed: engines do it once per step.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

sys.path.insert(0, str(Path(__file__).parent / "python"))

import torch
from backends import BACKENDS
from inputs import Inputs, Shape
from provenance import commit
from timing import CpuTimer, CudaTimer, capture, capture_burst, interleave

COLUMNS = (
    "device", "backend", "kernel", "b", "s_q", "h_q", "s_k", "varlen", "causal", "dtype",
    "page_size", "l2", "mode", "calls_per_sample", "rounds", "us", "us_p10", "us_p90", "tflops",
    "gbps",
    "out_error_of_bound", "lse_error_of_bound", "commit", "date",
)  # fmt: skip


def shapes_of(arguments: argparse.Namespace) -> Iterator[Shape]:
    for s_q, h_q, b, s_k in itertools.product(
        arguments.s_q, arguments.heads, arguments.batch, arguments.length
    ):
        yield Shape(
            b=b,
            s_q=s_q,
            h_q=h_q,
            s_k=s_k,
            varlen=arguments.varlen,
            causal=arguments.causal,
            dtype=arguments.dtype,
            page_size=arguments.page_size,
        )


def errors_of(result: Any, expected: Any) -> Dict[str, float]:
    """Largest error as a share of the bound of FlashMLA's suite; above 1, or NaN, is outside."""
    out, lse = result
    expected_out, expected_lse = expected
    error = (out.to(expected_out.dtype) - expected_out).abs()
    share = (error / (8e-4 + 2 / 128 * expected_out.abs())).nan_to_num(float("inf"))
    errors = {"out_error_of_bound": share.max().item(), "lse_error_of_bound": 0.0}
    if lse is not None:
        error = (lse.to(expected_lse.dtype) - expected_lse).abs()
        share = (error / (1e-6 + 8 / 65536 * expected_lse.abs())).nan_to_num(float("inf"))
        errors["lse_error_of_bound"] = share.max().item()
    return errors


class Comparison:
    """The backends on one shape."""

    def __init__(self, shape: Shape, arguments: argparse.Namespace) -> None:
        self.inputs = Inputs(shape, arguments.device)
        self.arguments = arguments
        self.calls: Dict[str, Callable[[], Any]] = {}
        self.modes: Dict[str, str] = {}
        self.calls_per_sample: Dict[str, int] = {}
        on_gpu = self.inputs.device.type == "cuda"
        cold = arguments.cold
        self.timer = CudaTimer(cold, self.inputs.device) if on_gpu else CpuTimer(cold)
        self.errors: Dict[str, Dict[str, float]] = {}
        self.left_out: Dict[str, str] = {}

    def prepare(self) -> None:
        expected = self.inputs.reference()
        for name in self.arguments.backends:
            backend = BACKENDS[name]
            reason = backend.why_not(self.inputs)
            if not reason:
                try:
                    call = backend.prepare(self.inputs)
                    self.errors[name] = errors_of(call(), expected)
                    self._make_repeatable(name, call)
                except Exception as error:  # another library's failure is a result, not ours to fix
                    reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            if reason:
                self.left_out[name] = reason

    def _make_repeatable(self, name: str, call: Callable[[], Any]) -> None:
        """Sets what is timed: a CUDA graph of several calls where they can be captured."""
        self.calls[name], self.modes[name], self.calls_per_sample[name] = call, "eager", 1
        if self.inputs.device.type != "cuda" or self.arguments.eager:
            return
        try:
            if self.arguments.cold:  # each call after a flush of its own
                self.calls[name] = capture(call)
            else:
                self.calls[name], self.calls_per_sample[name] = capture_burst(call, self.timer)
            self.modes[name] = "graph"
        except RuntimeError:
            torch.cuda.synchronize()

    def rows(self) -> List[Dict[str, Any]]:
        samples = interleave(self.calls, self.timer, self.arguments.seconds)
        shape = self.inputs.shape
        rows = []
        for name, seconds in samples.items():
            ordered = sorted(value / self.calls_per_sample[name] for value in seconds)
            median = statistics.median(ordered)
            rows.append(
                {
                    "device": device_name(self.inputs.device),
                    "backend": name,
                    "kernel": BACKENDS[name].kernel(),
                    **{key: getattr(shape, key) for key in ("b", "s_q", "h_q", "s_k", "dtype")},
                    "varlen": int(shape.varlen),
                    "causal": int(shape.causal),
                    "page_size": shape.page_size,
                    "l2": "cold" if self.arguments.cold else "warm",
                    "mode": self.modes[name],
                    "calls_per_sample": self.calls_per_sample[name],
                    "rounds": len(ordered),
                    "us": round(median * 1e6, 3),
                    "us_p10": round(ordered[len(ordered) // 10] * 1e6, 3),
                    "us_p90": round(ordered[len(ordered) * 9 // 10] * 1e6, 3),
                    "tflops": round(self.inputs.flops / median * 1e-12, 4),
                    "gbps": round(self.inputs.bytes / median * 1e-9, 2),
                    **{key: round(value, 4) for key, value in self.errors[name].items()},
                    "commit": commit(),
                    "date": time.strftime("%Y-%m-%d", time.gmtime()),
                }
            )
        return rows


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor() or "CPU"


def print_rows(shape: Shape, rows: List[Dict[str, Any]], left_out: Dict[str, str]) -> bool:
    """Prints a shape's table; returns whether every result is within its bound."""
    print(f"\n{shape}")
    fastest = min((row["us"] for row in rows), default=0.0)
    agree = True
    for row in sorted(rows, key=lambda row: row["us"]):
        worst = max(row["out_error_of_bound"], row["lse_error_of_bound"])
        agree = agree and worst <= 1
        print(
            f"  {row['backend']:24} {row['us']:11.1f} us  x{row['us'] / fastest:5.2f}"
            f"  {row['tflops']:8.3f} TFLOPS  {row['gbps']:8.1f} GB/s"
            f"  error {worst:.2f} of its bound{'' if worst <= 1 else '  <-- OUTSIDE'}"
        )
    for name, reason in left_out.items():
        print(f"  {name:24} left out: {reason}")
    return agree


def parse_arguments(arguments: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add(
        "--backends",
        nargs="+",
        choices=list(BACKENDS),
        default=list(BACKENDS),
        metavar="NAME",
        help="some of: " + ", ".join(BACKENDS),
    )
    add("--batch", nargs="+", type=int, default=[1, 8])
    add("--heads", nargs="+", type=int, default=[16, 128])
    add("--length", nargs="+", type=int, default=[1024, 8192])
    add("--s-q", nargs="+", type=int, default=[1])
    add("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    add("--page-size", type=int, default=64)
    add("--varlen", action="store_true", help="lengths drawn around --length")
    add("--causal", action="store_true")
    add("--cold", action="store_true", help="flush the caches between calls")
    add("--eager", action="store_true", help="time launches too, not replays of CUDA graphs")
    add("--seconds", type=float, default=1.0, help="time per shape, all backends together")
    add("--csv", type=Path, help="write the rows there")
    return parser.parse_args(arguments)


def main(argv: Optional[List[str]] = None) -> int:
    arguments = parse_arguments(argv)
    all_rows: List[Dict[str, Any]] = []
    agree = True
    for shape in shapes_of(arguments):
        comparison = Comparison(shape, arguments)
        comparison.prepare()
        rows = comparison.rows() if comparison.calls else []
        agree = print_rows(shape, rows, comparison.left_out) and agree
        all_rows += rows
        if arguments.csv:
            write_csv(arguments.csv, all_rows)
    return 0 if agree else 1


def write_csv(path: Path, rows: List[Dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    raise SystemExit(main())
