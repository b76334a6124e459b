"""The figures. Each takes records and draws one picture that can be read at a glance."""

from __future__ import annotations

import itertools
import math
from typing import Any, Dict, Iterable, List, Optional, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from records import Record, Roofs, short

INK, MUTED, GRID = "#222222", "#6b6b6b", "#e4e4e4"
COLOURS = ("#0060a8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#00868b", "#7f7f7f")
"""Told apart by colour-blind readers, in print, and on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = ("#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b", "#041c42")
"""For an ordered family, such as batch sizes: darker is more."""

plt.rcParams.update(
    {
        "font.size": 10,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "grid.color": GRID,
        "axes.axisbelow": True,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "legend.frameon": False,
        "savefig.dpi": 150,
        "savefig.bbox": "tight",
    }
)


def by(records: Iterable[Record], *names: str) -> Dict[Any, List[Record]]:
    """Records grouped by attributes, groups in sorted order."""
    groups: Dict[Any, List[Record]] = {}
    for record in records:
        key = tuple(getattr(record, name) for name in names)
        groups.setdefault(key[0] if len(names) == 1 else key, []).append(record)
    return dict(sorted(groups.items()))


def describe_run(record: Record) -> str:
    parts = [record.device, record.dtype]
    if record.threads:
        parts.append(f"{record.threads} threads")
    parts.append(f"{record.l2} cache" + ("" if record.regime == "short" else f", {record.regime}"))
    return " · ".join(parts)


def describe(record: Record) -> str:
    flags = (
        (f"s_q {record.s_q}", record.s_q > 1),
        ("varied lengths", record.varlen),
        ("causal", record.causal),
    )
    return " · ".join([describe_run(record), *(text for text, on in flags if on)])


def style_of(backends: Sequence[str]) -> Dict[str, Dict[str, str]]:
    """Seesaw keeps the first colour whatever it is drawn beside."""
    ordered = sorted(backends, key=lambda name: (not is_ours(name), name))
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(ordered)
    }


def number(value: float) -> str:
    """Three digits at least, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def is_ours(backend: str) -> bool:
    return backend.startswith(("seesaw", "sm", "cpu.", "reference."))


def length_axis(axis: Any, lengths: Iterable[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(sorted(set(lengths))))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(int(round(value)))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("tokens per sequence")
    axis.margins(x=0.05)


def label_line_ends(axis: Any, ends: List[tuple]) -> None:
    """Texts at the ends of lines, pushed apart so that none covers another."""
    low, high = axis.get_ylim()
    gap = (high - low) * 0.055
    points_per_unit = axis.bbox.height * 72 / axis.figure.dpi / (high - low)
    right = max(x for _, x, _, _ in ends)
    last = low - gap
    for y, x, text, colour in sorted(ends):
        if x < right:  # a line that ends early: above its end, off the longer lines
            offset, align = (0.0, 11.0), "center"
        else:
            last = max(y, last + gap)
            offset, align = (6.0, (last - y) * points_per_unit), "left"
        axis.annotate(
            text,
            (x, y),
            offset,
            textcoords="offset points",
            color=colour,
            ha=align,
            va="center",
            fontsize=9,
            annotation_clip=False,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
        )


def rate_by_length(records: List[Record], backend: str, roofs: Optional[Roofs], title: str) -> Any:
    """Bandwidth and TFLOPS against length: a row per measure, a column per number of heads, a line
    per batch."""
    chosen = [record for record in records if record.backend == backend]
    heads = {
        h_q: group
        for h_q, group in by(chosen, "h_q").items()
        if len({record.s_k for record in group}) > 1
    }
    measures = (
        ("gbps", "GB/s", roofs and roofs.gbps),
        ("tflops", "TFLOPS", roofs and roofs.tflops),
    )
    figure, axes = plt.subplots(
        2,
        len(heads),
        figsize=(1.2 + 3.9 * len(heads), 6.4),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    batches = sorted({record.b for record in chosen})
    shades = dict(zip(batches, SEQUENTIAL[-len(batches) :]))
    for row, (measure, unit, roof) in enumerate(measures):
        top = max([roof or 0.0, *(getattr(record, measure) for record in chosen)]) * 1.08
        for column, (h_q, group) in enumerate(heads.items()):
            axis = axes[row][column]
            ends = []
            for b, line in by(group, "b").items():
                line.sort(key=lambda record: record.s_k)
                xs = [record.s_k for record in line]
                ys = [getattr(record, measure) for record in line]
                axis.plot(xs, ys, color=shades[b], marker="o", markersize=4)
                ends.append((ys[-1], xs[-1], f"b {b}", shades[b]))
            length_axis(axis, [record.s_k for record in chosen])
            axis.set_ylim(0, top)
            if roof:
                axis.axhline(roof, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
                axis.annotate(
                    f"measured roof {number(roof)}", (0.01, roof), (0, 3),
                    xycoords=("axes fraction", "data"), textcoords="offset points",
                    color=MUTED, fontsize=8,
                )  # fmt: skip
            if row == 0:
                axis.set_title(f"{h_q} heads", fontsize=10)
                axis.set_xlabel("")
            if column == 0:
                axis.set_ylabel(unit)
            figure.canvas.draw()
            label_line_ends(axis, ends)
    figure.suptitle(f"{backend}: bandwidth and arithmetic against length\n{title}", fontsize=11)
    figure.tight_layout()
    return figure


def roofline(records: List[Record], roofs: Roofs, title: str) -> Any:
    """TFLOPS against FLOP per byte, under the roofs that the same run measured."""
    figure, axis = plt.subplots(figsize=(7.2, 4.8))
    styles = style_of(sorted({record.backend for record in records}))
    for backend, group in by(records, "backend").items():
        sizes = [18 + 5 * max(record.b, 1).bit_length() ** 1.5 for record in group]
        axis.scatter(
            [record.intensity for record in group], [record.tflops for record in group], sizes,
            label=backend, alpha=0.5, linewidths=0, **styles[backend],
        )  # fmt: skip
    for rows, group in _by_rows(records).items():
        lowest = min(group, key=lambda record: record.tflops)
        axis.annotate(
            f"{rows} rows", (lowest.intensity, lowest.tflops), (0, -14), ha="center",
            textcoords="offset points", color=MUTED, fontsize=8,
        )  # fmt: skip
    ridge = roofs.tflops * 1e3 / roofs.gbps
    low = min(min(record.intensity for record in records), ridge) / 2.5
    high = max(max(record.intensity for record in records), ridge) * 1.6
    axis.plot(
        [low, ridge, high],
        [low * roofs.gbps / 1e3, roofs.tflops, roofs.tflops],
        color=INK,
        linewidth=1.4,
    )
    axis.annotate(
        f"{number(roofs.tflops)} TFLOPS",
        (high, roofs.tflops),
        (-4, 5),
        ha="right",
        textcoords="offset points",
        fontsize=9,
    )
    axis.annotate(
        f"{number(roofs.gbps)} GB/s",
        (low, low * roofs.gbps / 1e3),
        (6, -12),
        textcoords="offset points",
        fontsize=9,
    )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel("FLOP per byte (grows with rows = heads × query tokens)")
    axis.set_ylabel("TFLOPS")
    axis.set_xlim(low, high)
    axis.set_ylim(bottom=min(record.tflops for record in records) / 2)
    if len(styles) > 1:
        axis.legend(loc="lower right", fontsize=9)
    axis.text(0.99, 0.02 if len(styles) == 1 else 0.98, "larger marks: larger batch",
              transform=axis.transAxes, ha="right", va="bottom" if len(styles) == 1 else "top",
              color=MUTED, fontsize=8)  # fmt: skip
    axis.set_title(f"Roofline, roofs measured in the same run\n{title}", fontsize=11)
    return figure


def _by_rows(records: List[Record]) -> Dict[int, List[Record]]:
    groups: Dict[int, List[Record]] = {}
    for record in records:
        groups.setdefault(record.h_q * record.s_q, []).append(record)
    return groups


FAR = 3.0
"""Speed-ups beyond it are written out at the edge, so that the near ones have room."""


def speed_ups(records: List[Record], ours: str, title: str) -> Any:
    """How much faster `ours` is than each other backend: a panel per number of heads, a row per
    shape, a mark per rival. Left of the line, in grey, it is slower."""
    rivals = [name for name in sorted({r.backend for r in records}) if not is_ours(name)]
    panels = {h_q: _speed_up_rows(group, ours) for h_q, group in by(records, "h_q").items()}
    panels = {h_q: rows for h_q, rows in panels.items() if rows}
    ratios = [ratio for rows in panels.values() for _, row in rows for ratio in row.values()]
    tallest = max(len(rows) for rows in panels.values())
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1 + 4.6 * len(panels), 2.1 + 0.3 * tallest), squeeze=False
    )
    styles = style_of([ours, *rivals])
    low = min(*ratios, 0.9) / 1.05
    high = min(max(*ratios, 1.1) * 1.1, FAR)
    for axis, (h_q, rows) in zip(axes[0], panels.items()):
        axis.axvspan(low, 1, color="#f1f1f1", linewidth=0)
        axis.axvline(1, color=INK, linewidth=1.2)
        _speed_up_marks(axis, rows, rivals, styles, high)
        axis.grid(axis="y", visible=False)
        for y in range(1, len(rows)):
            axis.axhline(y - 0.5, color=GRID, linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(rows)), [label for label, _ in rows], color=INK, fontsize=9)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xscale("log", base=2)
        axis.set_xlim(low, high * (1.08 if high == FAR else 1))
        ticks = [t for t in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5) if low <= t <= high]
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_title(f"{h_q} heads", fontsize=10)
        axis.set_xlabel(f"time of the other / time of {ours}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=9)
    figure.suptitle(f"Speed-up of {ours}; in the grey, {ours} is slower\n{title}", fontsize=11)
    figure.tight_layout(rect=(0, 0.45 / figure.get_figheight(), 1, 1))
    return figure


def _speed_up_marks(
    axis: Any, rows: List[tuple], rivals: Sequence[str], styles: Dict[str, Any], high: float
) -> None:
    """A mark per rival and row, one below the other; at the edge with its number if it is far."""
    for i, rival in enumerate(rivals):
        offset = (i - (len(rivals) - 1) / 2) * 0.17
        points = [(row[rival], y + offset) for y, (_, row) in enumerate(rows) if rival in row]
        near = [(min(ratio, high), y) for ratio, y in points]
        axis.plot(*zip(*near), linestyle="", markersize=5, label=rival, **styles[rival])
        for ratio, y in points:
            if ratio > high:
                axis.annotate(
                    f"{ratio:.1f}×", (high, y), (-7, 0), textcoords="offset points", fontsize=7,
                    ha="right", va="center", color=styles[rival]["color"],
                )  # fmt: skip


def _speed_up_rows(records: List[Record], ours: str) -> List[tuple]:
    """(shape, {rival: ratio}) of the shapes that ours and some rival have run."""
    rows = []
    for (b, s_k), group in by(records, "b", "s_k").items():
        times = {record.backend: record.us for record in group}
        ratios = (
            {name: us / times[ours] for name, us in times.items() if not is_ours(name)}
            if (ours in times)
            else {}
        )
        if ratios:
            rows.append((f"b {b} · {short(s_k)}", ratios))
    return rows


def small_batch_latency(records: List[Record], title: str, largest_batch: int = 4) -> Any:
    """Microseconds against length at small batch: a panel per (heads, batch), a line per backend,
    a band from the 10th to the 90th percentile."""
    chosen = [record for record in records if record.b <= largest_batch]
    if any(record.backend == "seesaw" for record in chosen):  # its other face would cover it
        chosen = [record for record in chosen if not record.backend.startswith("seesaw.")]
    heads = sorted({record.h_q for record in chosen})
    batches = sorted({record.b for record in chosen})
    figure, axes = plt.subplots(
        len(heads), len(batches), figsize=(1 + 3.7 * len(batches), 1.2 + 2.8 * len(heads)),
        squeeze=False, sharex=True,
    )  # fmt: skip
    styles = style_of(sorted({record.backend for record in chosen}))
    panels = by(chosen, "h_q", "b")
    for (row, h_q), (column, b) in itertools.product(enumerate(heads), enumerate(batches)):
        axis = axes[row][column]
        lines = by(panels.get((h_q, b), []), "backend")
        for backend in (name for name in styles if name in lines):
            line = sorted(lines[backend], key=lambda record: record.s_k)
            xs = [record.s_k for record in line]
            axis.plot(
                xs, [record.us for record in line], label=backend, markersize=4, **styles[backend]
            )
            axis.fill_between(
                xs, [record.us_p10 for record in line], [record.us_p90 for record in line],
                color=styles[backend]["color"], alpha=0.15, linewidth=0,
            )  # fmt: skip
        if len(styles) == 1:
            for record in panels.get((h_q, b), []):
                axis.annotate(
                    number(record.us),
                    (record.s_k, record.us),
                    (0, 6),
                    textcoords="offset points",
                    ha="right",
                    fontsize=9,
                )
        length_axis(axis, [record.s_k for record in chosen])
        axis.set_yscale("log", base=2)
        drawn = [record.us for record in panels.get((h_q, b), [])]
        if drawn:
            axis.set_ylim(bottom=2.0 ** math.floor(math.log2(min(drawn))))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        axis.set_title(f"batch {b}, {h_q} heads", fontsize=10)
        axis.set_ylabel("µs" if column == 0 else "")
        axis.set_xlabel(axis.get_xlabel() if row + 1 == len(heads) else "")
    handles, labels = axes[0][0].get_legend_handles_labels()
    what = f" of {labels[0]}" if len(labels) == 1 else ""
    if not what:
        figure.legend(handles, labels, loc="lower center", ncols=len(labels), fontsize=9)
    figure.suptitle(
        f"Latency at small batch{what}, median and 10th to 90th percentile\n{title}", fontsize=11
    )
    figure.tight_layout(rect=(0, 0 if what else 0.4 / figure.get_figheight(), 1, 1))
    return figure
