"""The result as a figure: bars of each attention, and the layers' times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO, Dict, List, Tuple

import matplotlib
from matplotlib.figure import Figure

from seesaw.report._figures import COLOURS, STYLE, WIDTH_INCHES, Bar, Bars

_PANELS = (
    ("New tokens a second", "tokens_per_s", "tokens/s", ".4g"),
    ("A step of decoding", "decode_ms", "ms", ".3g"),
    ("A batch's prompts", "prefill_ms", "ms", ".3g"),
    ("From arrival to the first token", "first_token_ms", "ms", ".3g"),
)


@dataclass
class Layers:
    """Attention's time of each layer while decoding, a line an attention."""

    lines: List[Tuple[str, List[float]]] = field(default_factory=list)

    def draw(self, axes: Any) -> None:
        for i, (name, values) in enumerate(self.lines):
            axes.plot(values, "o-", markersize=3, color=COLOURS[i % len(COLOURS)], label=name)
        axes.set_title("Attention of each layer, a step of decoding", x=0)
        axes.set_xlabel("layer")
        axes.set_ylabel("ms")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()


def _bars(report: Dict[str, Any]) -> List[Bars]:
    ran = [result for result in report["results"] if result["figures"]]
    made = []
    for title, name, unit, form in _PANELS:
        bars = []
        for i, result in enumerate(ran):
            value = result["figures"][name]
            if value is not None:
                text = f"{value['median']:{form}} {unit}"
                bar = Bar(result["attention"], value["median"], text, i % len(COLOURS))
                bar.low, bar.high = value["p10"], value["p90"]
                bars.append(bar)
        if bars:
            made.append(Bars(title, unit, bars=bars))
    bars = [
        Bar(result["attention"], size, f"{size:,.0f} bytes", i % len(COLOURS))
        for i, result in enumerate(ran)
        if (size := result["figures"]["kv_bytes_per_token"])
    ]
    return made + ([Bars("Cache of a token, all layers", "bytes", bars=bars)] if bars else [])


def save(report: Dict[str, Any], target: BinaryIO, kind: str) -> None:
    """Writes "svg" or "png" of a report in which something ran."""
    panels: List[Any] = list(_bars(report))
    heights = [panel.height_inches() for panel in panels]
    lines = [
        (result["attention"], [layer["decode_attention_ms"] for layer in result["layers"]])
        for result in report["results"]
        if result["layers"]
    ]
    if lines:
        panels.append(Layers(lines))
        heights.append(2.6)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "serve_bench"}):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(grid[i])
            panel.draw(axes)
            if isinstance(panel, Bars):
                axes.set_title(panel.title, x=0)
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(target, format=kind, dpi=200, metadata=metadata)
