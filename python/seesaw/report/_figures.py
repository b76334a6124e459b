"""Figures as wide as a phone: every label stands above its own bar or line of marks."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Dict, List, Optional, Sequence, Tuple

from seesaw.report._results import Refusal

try:
    import matplotlib.ticker
    from matplotlib.figure import Figure
except ImportError:
    raise Refusal(
        "report: matplotlib is not installed, needed: the extra `report`. "
        "Run `pip install 'seesaw[report]'`, or leave -o out for text."
    ) from None

WIDTH_INCHES = 4.0
TITLE_COLUMNS = 52
COLOURS = ["#2f6fb3", "#d97706", "#2a9d63", "#b23a48", "#7a5ea8", "#5f6b76"]
GREY = "#555555"
STYLE: Dict[Any, Any] = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 8,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.labelcolor": GREY,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


@dataclass
class Bar:
    """`low` to `high`: its spread, if there is one."""

    name: str
    value: float
    text: str
    colour: int = 0
    low: Optional[float] = None
    high: Optional[float] = None


@dataclass
class Line:
    name: str
    points: List[Tuple[float, float]]
    colour: int
    dashed: bool = False


@dataclass
class Drawing:
    """A figure by its title, drawn when it is asked for."""

    title: str
    unit: str
    log: bool = False

    def draw(self, axes: Any) -> None:
        raise NotImplementedError

    def height_inches(self) -> float:
        raise NotImplementedError

    def figure(self) -> Any:
        title = textwrap.fill(self.title, TITLE_COLUMNS)
        height = self.height_inches() + 0.2 * title.count("\n")
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.title}):
            figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
            axes = figure.add_subplot()
            axes.set_title(title, x=0)
            self.draw(axes)
            figure.draw_without_rendering()
        return figure

    def save(self, target: Any, format: str) -> None:
        figure = self.figure()
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.title}):
            metadata = {"Date": None} if format == "svg" else None
            figure.savefig(target, format=format, dpi=200, metadata=metadata)

    def svg(self, prefix: str) -> str:
        """For a page with other figures: no name is used twice there."""
        text = StringIO()
        self.save(text, "svg")
        svg = text.getvalue()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        used = set(re.findall(r"(?:url\(|href=\")#([^\")]+)", svg))
        svg = re.sub(
            r'(<[^>]*?) id="([^"]+)"',
            lambda match: match[1] + (f' id="{prefix}{match[2]}"' if match[2] in used else ""),
            svg,
        )
        return re.sub(r"(url\(|href=\")#", rf"\1#{prefix}", svg)


def log_scale(axis: Any, set_scale: Any) -> None:
    """Numbers as people write them, at 1, 2 and 5 where there is room."""
    set_scale("log")
    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs, numticks=9))
    if high / low < 4:
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def hide_names(axes: Any, rows: int) -> None:
    axes.set_ylim(rows - 0.35, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_axisbelow(True)


def label(axes: Any, row: int, name: str, text: str = "") -> None:
    """Above the row: its name on the left, its value on the right."""
    where = axes.get_yaxis_transform()
    axes.text(0, row - 0.3, name, transform=where, ha="left", va="bottom")
    axes.text(1, row - 0.3, text, transform=where, ha="right", va="bottom", color=GREY)


@dataclass
class Bars(Drawing):
    bars: List[Bar] = field(default_factory=list)

    def height_inches(self) -> float:
        return 0.75 + 0.37 * len(self.bars)

    def draw(self, axes: Any) -> None:
        least = min(bar.value for bar in self.bars)
        most = max(bar.value for bar in self.bars)
        begin = 10 ** (math.ceil(math.log10(least)) - 1) if self.log else 0
        # A spread far beyond all bars would make them short: it is cut, with a mark.
        edge = max([most, *(bar.high for bar in self.bars if bar.high and bar.high < 1.5 * most)])
        edge *= 1.02
        for row, bar in enumerate(self.bars):
            axes.barh(row, bar.value - begin, 0.4, left=begin, color=COLOURS[bar.colour])
            text = bar.text
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, min(bar.high, edge)], [row, row], color="#1c1c1c", linewidth=1)
                ends = [end for end in (bar.low, bar.high) if end <= edge]
                axes.plot(ends, [row] * len(ends), "|", color="#1c1c1c", markersize=5)
                if bar.high > edge:
                    axes.plot([edge], [row], ">", color="#1c1c1c", markersize=4, clip_on=False)
                    text += f" (p90 {bar.high:.3g})"
            label(axes, row, bar.name, text)
        axes.set_xlim(begin, edge)
        if self.log:
            log_scale(axes.xaxis, axes.set_xscale)
        axes.set_xlabel(self.unit)
        hide_names(axes, len(self.bars))


@dataclass
class Dots(Drawing):
    """Marks of several series along one axis, a row a name; None: no mark."""

    series: Sequence[str] = ()
    rows: List[Tuple[str, List[Optional[float]]]] = field(default_factory=list)

    def height_inches(self) -> float:
        return 0.95 + 0.17 * math.ceil(len(self.series) / 2) + 0.33 * len(self.rows)

    def draw(self, axes: Any) -> None:
        for row, (name, _) in enumerate(self.rows):
            axes.axhline(row, color="#d5d5d5", linewidth=0.8)
            label(axes, row, name)
        for i, name in enumerate(self.series):
            points = [
                (values[i], row)
                for row, (_, values) in enumerate(self.rows)
                if values[i] is not None and (values[i] or 0) > 0
            ]
            if points:
                axes.plot(
                    *zip(*points), "o", color=COLOURS[i], alpha=0.85, markersize=5, label=name
                )
        if self.log:
            log_scale(axes.xaxis, axes.set_xscale)
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel(self.unit)
        hide_names(axes, len(self.rows))
        axes.figure.legend(loc="outside lower left", ncols=2, handletextpad=0.2)


@dataclass
class Lines(Drawing):
    """Lines over a logarithmic axis. `unit` is of the values, `log` says how they are drawn."""

    across: str = ""
    lines: List[Line] = field(default_factory=list)

    def height_inches(self) -> float:
        return 2.7 + 0.17 * math.ceil(len(self.lines) / 2)

    def draw(self, axes: Any) -> None:
        for line in self.lines:
            style = "--" if line.dashed else "-"
            colour = COLOURS[line.colour]
            if line.points:
                mark = "o" if len(line.points) < 20 else ""
                axes.plot(*zip(*line.points), style, marker=mark, markersize=3.5, color=colour,
                          label=line.name)  # fmt: skip
        log_scale(axes.xaxis, axes.set_xscale)
        if self.log:
            log_scale(axes.yaxis, axes.set_yscale)
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(self.across)
        axes.set_ylabel(self.unit)
        if len(self.lines) > 1:
            axes.figure.legend(loc="outside lower left", ncols=2)
