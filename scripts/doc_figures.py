#!/usr/bin/env python3
"""Draws docs/figures from the recorded results: rivals-h200.png of README.md and, once there is a
record of bench/gpu/grid.py, its heat maps, grid-*-h200.png.

Usage: doc_figures.py [FOLDER]. Needs matplotlib.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import List

import doc_tables  # finds bench and bench/python, too
import figures
import grid_figures
import records

VERSIONS = {
    "FlashMLA": "FlashMLA (sgl-flash-mla 1.0.0)",
    "FlashAttention-3": "FlashAttention-3 (vLLM 0.20.0)",
    "FlashInfer": "FlashInfer 0.6.8.post1",
    "Triton": "Triton (vLLM 0.20.0)",
}
"""What the records' notes name: docs/notebook/0053, docs/python.md."""


def rivals() -> List[records.Record]:
    """Seesaw's records, and one of each other library that stands as far from it as it did in the
    process in which both ran."""
    compared = records.read(doc_tables.newest("h200/*-python-compare.csv")).records
    ours = {(r.b, r.h_q, r.s_k): r for r in compared if r.backend == "seesaw"}
    found = []
    for shape, (_, ratios) in doc_tables.speed_ups().items():
        found.append(dataclasses.replace(ours[shape], backend="seesaw"))
        for name, ratio in ratios.items():
            us = ours[shape].us * ratio
            found.append(dataclasses.replace(ours[shape], backend=VERSIONS[name], us=us))
    return found


def main(arguments: List[str]) -> int:
    folder = Path(arguments[0]) if arguments else doc_tables.ROOT / "docs" / "figures"
    found = rivals()
    figure = figures.speed_ups(found, "seesaw", figures.describe(found[0]))
    figure.savefig(folder / "rivals-h200.png")
    for path in (doc_tables.ROOT / "bench" / "results").glob("h200/*-grid.json"):
        for name, figure in grid_figures.draw(json.loads(path.read_text())):
            figure.savefig(folder / f"grid-{name}-h200.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
