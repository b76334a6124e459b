#!/usr/bin/env python3
"""Heat maps and tables of a record of bench/gpu/grid.py.

    python bench/grid_figures.py bench/results/h200/RECORD-grid.json --output figures

Prints the ten worst cells of both measures and the choices that another kernel beats; writes
    lead-fixed.png, lead-varied.png     FlashMLA's time over Seesaw's
    roof-fixed.png, roof-varied.png     the fraction of the roof that Seesaw reaches
with a panel for every number of heads and of query tokens, and none for what the record lacks.
Needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

BENCH = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCH / "python"), str(BENCH / "gpu")]

import cells
import figures
from matplotlib.colors import Normalize
from records import short

plt = figures.plt

MEASURES = {
    "lead": ("lead", "FlashMLA's time over Seesaw's; red: Seesaw is slower"),
    "roof": ("roof_fraction", "Seesaw's fraction of the roof"),
}
FAR = math.log2(1.3)
"""Leads beyond 1.3 and below its inverse have the last colour."""
Values = Dict[Tuple[int, int], float]
"""By batch and length."""


def of_panels(record: cells.Record, measure: str, varlen: bool) -> Dict[Tuple[int, int], Values]:
    """By query tokens and heads."""
    panels: Dict[Tuple[int, int], Values] = {}
    for row in record["results"]:
        case = cells.Case(**row["case"])
        if case.varlen == varlen and row[measure] is not None:
            panels.setdefault((case.s_q, case.h_q), {})[case.b, case.s_k] = row[measure]
    return panels


def heat_map(record: cells.Record, name: str, varlen: bool) -> Optional[Any]:
    """None: the record has no such cell."""
    measure, title = MEASURES[name]
    panels = of_panels(record, measure, varlen)
    if not panels:
        return None
    rows, columns = (sorted({key[i] for key in panels}) for i in range(2))
    found = [key for values in panels.values() for key in values]
    batches, lengths = (sorted({key[i] for key in found}) for i in range(2))
    size = (1 + len(columns) * (0.7 + 0.33 * len(lengths)),
            1.2 + len(rows) * (0.7 + 0.24 * len(batches)))  # fmt: skip
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for i, s_q in enumerate(rows):
        for j, h_q in enumerate(columns):
            axis = axes[i][j]
            draw_panel(axis, panels.get((s_q, h_q), {}), batches, lengths, name)
            axis.set_title(f"{h_q} heads, s_q {s_q}", fontsize=9)
            axis.set_ylabel("sequences" if j == 0 else "")
            axis.set_xlabel("tokens per sequence" if i + 1 == len(rows) else "")
    kind = "varied lengths" if varlen else "fixed lengths"
    below = f"{record['device']} · bf16 · L2 {record['l2']} · {kind} · {record['commit']}"
    figure.suptitle(f"{title}\n{below}", fontsize=11)
    figure.tight_layout()
    return figure


def draw_panel(
    axis: Any, values: Values, batches: List[int], lengths: List[int], name: str
) -> None:
    """A cell that was not measured stays grey."""
    far = {"lead": (-FAR, FAR), "roof": (0.0, 1.0)}[name]
    colours = plt.get_cmap("RdBu" if name == "lead" else "Blues")
    scale = Normalize(*far, clip=True)
    axis.set_facecolor(figures.GRID)
    axis.grid(visible=False)
    for (b, s_k), value in values.items():
        x, y = lengths.index(s_k), batches.index(b)
        shade = scale(math.log2(value) if name == "lead" else value)
        axis.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=colours(shade), linewidth=0))
        dark = abs(shade - 0.5) > 0.35 if name == "lead" else shade > 0.6
        ink = "white" if dark else figures.INK
        axis.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=6, color=ink)
    axis.set_xlim(-0.5, len(lengths) - 0.5)
    axis.set_ylim(-0.5, len(batches) - 0.5)
    axis.set_xticks(range(len(lengths)), [short(n) for n in lengths], fontsize=7)
    axis.set_yticks(range(len(batches)), [str(b) for b in batches], fontsize=7)


def draw(record: cells.Record) -> Iterator[Tuple[str, Any]]:
    """(name, figure) of what the record can show."""
    for name in MEASURES:
        for kind, varlen in (("fixed", False), ("varied", True)):
            figure = heat_map(record, name, varlen)
            if figure is not None:
                yield f"{name}-{kind}", figure


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="record of bench/gpu/grid.py")
    parser.add_argument("--output", type=Path, default=Path("figures"), help="folder (figures)")
    arguments = parser.parse_args(argv)
    record = json.loads(arguments.file.read_text())
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, figure in draw(record):
        target = arguments.output / f"{name}.png"
        figure.savefig(target)
        plt.close(figure)
        print(target)
    cells.print_tables(record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
