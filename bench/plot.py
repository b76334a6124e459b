#!/usr/bin/env python3
"""Figures from results: the CSV of bench/compare.py, or the JSON of the benchmarks.

    python bench/plot.py bench/results/DEVICE/RESULT.json --output figures
    python bench/plot.py compare.csv --roof-tflops 743 --roof-gbps 3106

Writes, for each run in the file (cache state, regime, dtype):
    roofline-*.png    where the shapes lie under the roofs (of the JSON, or given)
and for each kind in it (mask, query tokens, varied lengths):
    rates-*.png       bandwidth and TFLOPS against length, a line per batch
    speedups-*.png    time of the others over Seesaw's, per shape (if there are others)
    latency-*.png     microseconds against length at batch 4 and below
Needs matplotlib.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).parent / "python"))

import figures
import summary
from records import Record, Roofs, read


def words_of(record: Record) -> List[str]:
    """What all records of a run share, for names of files."""
    threads = [f"{record.threads}threads"] if record.threads else []
    return [record.l2, record.regime, record.dtype, *threads]


def draw_run(records: List[Record], roofs: Optional[Roofs]) -> Iterator[Tuple[str, Any]]:
    """(name, figure) of what shows a whole run."""
    if roofs is not None:
        name = "-".join(["roofline", *words_of(records[0])])
        yield name, figures.roofline(records, roofs, figures.describe_run(records[0]))


def draw_kind(records: List[Record], roofs: Optional[Roofs]) -> Iterator[Tuple[str, Any]]:
    """(name, figure) of what records of one kind can show."""
    first = records[0]
    words = words_of(first)
    words += [f"s_q{first.s_q}"] if first.s_q > 1 else []
    words += ["var"] if first.varlen else []
    words += ["causal"] if first.causal else []
    suffix = "-".join(words)
    title = figures.describe(first)
    backends = sorted({record.backend for record in records})
    ours = next((name for name in backends if figures.is_ours(name)), backends[0])
    if any(len({r.s_k for r in group}) > 1 for group in figures.by(records, "h_q").values()):
        yield f"rates-{suffix}", figures.rate_by_length(records, ours, roofs, title)
    if any(not figures.is_ours(name) for name in backends) and figures.is_ours(ours):
        yield f"speedups-{suffix}", figures.speed_ups(records, ours, title)
    if len({r.s_k for r in records if r.b <= 4}) > 1:
        yield f"latency-{suffix}", figures.small_batch_latency(records, title)


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder (figures)")
    parser.add_argument("--label", help="in the figures' names, instead of the file's")
    parser.add_argument("--table", action="store_true", help="print a comparison's ratios too")
    parser.add_argument("--roof-tflops", type=float, help="for a CSV, which has no roofs")
    parser.add_argument("--roof-gbps", type=float)
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in arguments.files:
        results = read(path)
        roofs = results.roofs
        if arguments.roof_tflops and arguments.roof_gbps:
            roofs = Roofs(arguments.roof_tflops, arguments.roof_gbps)
        drawn = [
            draw(group, roofs)
            for draw, by in ((draw_run, "run"), (draw_kind, "kind"))
            for group in figures.by(results.records, by).values()
        ]
        for name, figure in itertools.chain(*drawn):
            stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{arguments.label or path.stem}")
            target = arguments.output / f"{stem}.png"
            figure.savefig(target)
            figures.plt.close(figure)
            print(target)
        if arguments.table:
            print(summary.table(results.records))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
