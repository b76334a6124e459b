"""What all figures share: size, colours, and an SVG that is the same bytes for the same data."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

BLUE, ORANGE, GREEN, RED, GREY, LIGHT = (
    "#3465a4", "#e08214", "#4e9a06", "#b2182b", "#777777", "#dddddd")

plt.rcParams.update({
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "seesaw",
    "svg.fonttype": "none",
})


def save(figure, script):
    """Writes the figure beside its script, without a date."""
    target = pathlib.Path(script).with_suffix(".svg")
    figure.savefig(target, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
    plt.close(figure)
