#!/usr/bin/env python3
"""Figures from results: the CSV of bench/compare.py, or the JSON of the benchmarks.

    python bench/plot.py bench/results/DEVICE/RESULT.json --output figures
    python bench/plot.py compare.csv --roof-tflops 743 --roof-gbps 3106

Writes, for each kind of run in the file (cache state, regime, mask, query tokens):
    rates-*.png       bandwidth and TFLOPS against length, a line per batch
    roofline-*.png    where the shapes lie under the roofs (of the JSON, or given)
    speedups-*.png    time of the others over Seesaw's, per shape (if there are others)
    latency-*.png     microseconds against length at batch 4 and below
Needs matplotlib.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).parent / "python"))

import figures
from records import Record, Roofs, read


def kinds_of(records: List[Record]) -> Iterator[Tuple[str, List[Record]]]:
    """(suffix of file names, records) for each kind of run."""
    for _, group in figures.by(records, "kind").items():
        first = group[0]
        words = [first.l2, first.regime, first.dtype]
        words += [f"s_q{first.s_q}"] if first.s_q > 1 else []
        words += ["var"] if first.varlen else []
        words += ["causal"] if first.causal else []
        words += [f"{first.threads}threads"] if first.threads else []
        yield "-".join(words), group


def draw(records: List[Record], roofs: Optional[Roofs]) -> Iterator[Tuple[str, Any]]:
    """(name, figure) of everything that these records of one kind can show."""
    title = figures.describe(records[0])
    backends = sorted({record.backend for record in records})
    ours = next((name for name in backends if figures.is_ours(name)), backends[0])
    if len({record.s_k for record in records}) > 1:
        yield "rates", figures.rate_by_length(records, ours, roofs, title)
    if roofs is not None:
        yield "roofline", figures.roofline(records, roofs, title)
    if any(not figures.is_ours(name) for name in backends) and figures.is_ours(ours):
        yield "speedups", figures.speed_ups(records, ours, title)
    if len({r.s_k for r in records if r.b <= 4}) > 1:
        yield "latency", figures.small_batch_latency(records, title)


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder (figures)")
    parser.add_argument("--roof-tflops", type=float, help="for a CSV, which has no roofs")
    parser.add_argument("--roof-gbps", type=float)
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in arguments.files:
        results = read(path)
        roofs = results.roofs
        if arguments.roof_tflops and arguments.roof_gbps:
            roofs = Roofs(arguments.roof_tflops, arguments.roof_gbps)
        for suffix, records in kinds_of(results.records):
            for name, figure in draw(records, roofs):
                stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{path.stem}-{suffix}")
                target = arguments.output / f"{stem}.png"
                figure.savefig(target)
                figures.plt.close(figure)
                print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
