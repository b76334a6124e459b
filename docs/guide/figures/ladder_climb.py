"""The climb: times of all rungs from the recorded results, two batch sizes.

Usage: ladder_climb.py RESULT.json [RESULT.json ...]; without arguments the recorded H200 results."""

import json
import pathlib
import sys
import textwrap

import style
from style import BLUE, GREY, ORANGE, plt

RESULTS = pathlib.Path(__file__).resolve().parents[3] / "bench" / "results" / "h200"
files = [pathlib.Path(name) for name in sys.argv[1:]] or [RESULTS / "2026-11-21-f8fa6e4-ladder-b64.json",
                                                                    RESULTS / "2026-11-21-f8fa6e4-ladder-b4.json"]

figure, axis = plt.subplots(figsize=(10, 4))
for file, colour in zip(files, (BLUE, ORANGE)):
    result = json.loads(file.read_text())
    rungs = [r for r in result["rungs"] if "microseconds_median" in r and r["rung"] > 0]
    numbers = [r["rung"] for r in rungs]
    times = [r["microseconds_median"] for r in rungs]
    axis.semilogy(numbers, times, marker="o", color=colour,
                  label=f"{result['problem']['batch']} sequences of "
                        f"{result['problem']['seq_lens'][0]:,} tokens")
    for number, time in zip(numbers, times):
        axis.annotate(f"{time / 1000:,.1f} ms" if time >= 1000 else f"{time:,.0f} µs",
                      (number, time), (0, 6 if colour == BLUE else -12), textcoords="offset points", ha="center",
                      fontsize=7, color=colour)
    labels = [f"{r['rung']}\n" + textwrap.fill(r["idea"], 14) for r in rungs]
axis.set_xticks(numbers, labels, fontsize=6)
axis.set_ylim(bottom=8)
axis.set_ylabel("time, µs (log)")
axis.set_title(f"the ladder on {result['device']}, commit {result['commit']}", loc="left",
               color=GREY)
axis.legend(frameon=False)
figure.tight_layout()
style.save(figure, __file__)
