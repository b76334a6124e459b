"""Cells of dense decoding: a case, the grid of them, what runs in which order and for how long, the
record, and its tables. Needs neither PyTorch (but to draw lengths) nor a GPU.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

Record = Dict[str, Any]
OURS, RIVAL = "seesaw", "flash_mla"
COLD_BYTES = 256 << 20
"""Calls walk through so many bytes of pages before they return: over four times the L2 cache."""
MOST_TURNS = 256


class Case(NamedTuple):
    b: int
    s_q: int
    h_q: int
    s_k: int
    varlen: bool = False
    causal: bool = False

    def __str__(self) -> str:
        flags = (".var" if self.varlen else "") + (".causal" if self.causal else "")
        return f"b{self.b}.sq{self.s_q}.h{self.h_q}.s{self.s_k}{flags}"

    def lengths(self) -> List[int]:
        """Those of bench/python/inputs.py, which needs PyTorch to draw varied ones."""
        if not self.varlen:
            return [self.s_k] * self.b
        from inputs import Shape

        return Shape(**self._asdict()).lengths()


def roof_us(flops: float, bytes_moved: float, roofs: Dict[str, float]) -> float:
    """The larger of operations at cuBLAS's rate in bursts and bytes at the best HBM read."""
    compute = flops / (roofs["cublas_bf16_tflops"] * 1e6)
    return max(compute, bytes_moved / (roofs["hbm_read_gbps"] * 1e3))


# The grid. A value's level is the place of its group: a run that is cut has the coarse grid whole.
AXES: Dict[str, Sequence[Sequence[int]]] = {
    "b": ((1, 16, 128), (4, 64), (2, 8, 32, 256)),
    "h_q": ((16, 128), (64,), (8, 32)),
    "s_q": ((1,), (2,), (4,)),
    "s_k": ((1024, 8192, 65536), (4096, 32768), (2048, 16384, 131072)),
    "varlen": ((False,), (True,)),
}


def levels(case: Case) -> List[int]:
    return [
        next(i for i, group in enumerate(groups) if getattr(case, name) in group)
        for name, groups in AXES.items()
    ]


def grid() -> List[Case]:
    """Every cell once, coarse cells first. One sequence has no varied lengths."""
    values = [sorted(itertools.chain(*groups)) for groups in AXES.values()]
    cases = [Case(**dict(zip(AXES, cell))) for cell in itertools.product(*values)]
    chosen = [case for case in cases if case.b > 1 or not case.varlen]
    return sorted(chosen, key=lambda case: (max(levels(case)), sum(levels(case))))


def pages_of(lengths: Sequence[int], page_size: int) -> int:
    return sum(-(-n // page_size) for n in lengths)


def turns_of(pages: int, pool_pages: int, page_bytes: int) -> int:
    """How many sets of pages calls walk through, so that L2 is cold; 0: not one fits the pool."""
    return min(-(-COLD_BYTES // (pages * page_bytes)), MOST_TURNS, pool_pages // pages)


class Budget:
    """Seconds of a run, spread over its cells: what one does not use is the others'."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begin, self.seconds = clock, clock(), seconds

    @property
    def spent(self) -> float:
        return self._clock() - self._begin

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - self.spent)

    def end_of_share(self, cells_left: int) -> Callable[[], bool]:
        """A function that tells whether the next cell's part of what is left is over."""
        end = self.spent + self.left / max(1, cells_left)
        return lambda: self.spent >= end

    def forecast(self, done: int, cells: int) -> str:
        """done: cells of this run, of all its `cells`."""
        each = self.spent / max(1, done)
        reached = min(cells, done + int(self.left / each)) if each else cells
        rest = each * (cells - done)
        return f"{self.spent:.0f} of {self.seconds:.0f} s, the rest needs {rest:.0f}: to {reached}"


def rounds_until(share_is_over: Callable[[], bool], fewest: int, most: int) -> Iterator[int]:
    """Turns of the contestants: the fewest, then more until the cell's share is over."""
    for turn in range(most):
        if turn >= fewest and share_is_over():
            return
        yield turn


def summary(times: Sequence[float]) -> Dict[str, float]:
    return {"median": statistics.median(times), "least": min(times), "most": max(times)}


def completed(row: Record, roof: Optional[float]) -> Record:
    """The row of a cell with what follows from its times."""
    us = {name: times["median"] for name, times in row["us"].items()}
    row["roof_us"] = roof
    row["roof_fraction"] = roof / us[OURS] if roof else None
    row["lead"] = us[RIVAL] / us[OURS] if RIVAL in us else None
    return row


def write(path: Path, record: Record) -> None:
    """Whole or not at all: a run may be ended while it writes."""
    part = path.with_name(path.name + ".part")
    part.write_text(
        json.dumps(record, separators=(",", ":")).replace('{"case"', '\n{"case"') + "\n"
    )
    os.replace(part, path)


def begun(path: Path, header: Record, go_on: bool) -> Record:
    """A new record; or the one of the file, if it was made by the same run's rules."""
    if not go_on or not path.exists():
        return {**header, "results": [], "skipped": []}
    record = json.loads(path.read_text())
    for name, value in header.items():
        if name != "date" and record.get(name) != value:
            raise ValueError(
                f"grid: {path} has {name} = {record.get(name)}, allowed: {value}, as in this run."
                " Write another file."
            )
    return {**record, "skipped": []}


def run(cases: Sequence[Case], record: Record, budget: Budget, path: Path,
        measure: Callable[[Case, Callable[[], bool]], Record]) -> None:  # fmt: skip
    """Measures the cells that the record lacks until the budget is spent; a row with `why` is one
    that cannot run. Writes the record after every cell."""
    known = {Case(**row["case"]) for row in record["results"]}
    wanted = [case for case in cases if case not in known]
    for done, case in enumerate(wanted):
        if budget.left <= 0:
            print(f"grid: the time is over, {len(wanted) - done} cells are left: --continue")
            return
        row = {"case": case._asdict(), **measure(case, budget.end_of_share(len(wanted) - done))}
        record["skipped" if "why" in row else "results"].append(row)
        write(path, record)
        progress = budget.forecast(done + 1, len(wanted))
        print(f"[{done + 1}/{len(wanted)}] {line(row)} | {progress}", flush=True)


def line(row: Record) -> str:
    name = str(Case(**row["case"]))
    if "why" in row:
        return f"{name:28} left out: {row['why']}"
    text = f"{name:28} {row['kernel']:24} {row['us'][OURS]['median']:8.1f} us"
    text += f" ({row['roof_fraction']:.2f})" if row["roof_fraction"] else ""
    text += f" of FM {row['lead']:.2f}" if row["lead"] else ""
    others = {n: t["median"] for n, t in row["us"].items() if n not in (OURS, RIVAL)}
    return text + "".join(f" | {name} {us:.1f}" for name, us in others.items())


# Tables. A header and rows of text, as scripts/doc_tables.py writes them.
Table = Tuple[List[str], List[List[str]]]
MARGIN = 0.03
"""The planner's choice is wrong where another kernel takes less by more than that."""


def _shape(row: Record) -> List[str]:
    case, tokens = row["case"], row["case"]["s_k"] // 1024
    shape = f"{case['b']} × {tokens}k{', varied' * case['varlen']}"
    return [shape, str(case["h_q"]), str(case["s_q"])]


def worst(record: Record, measure: str, count: int = 10) -> Table:
    """The cells of the least `lead` or `roof_fraction`."""
    rows = sorted((r for r in record["results"] if r[measure]), key=lambda r: r[measure])[:count]
    header = ["sequences × tokens", "heads", "query tokens", "kernel", "Seesaw, µs",
              "FlashMLA's time", "of the roof", "MHz", "W"]  # fmt: skip

    def text(value: Optional[float], form: str) -> str:
        return "" if value is None else form.format(value)

    return header, [
        [*_shape(row), f"`{row['kernel']}`", f"{row['us'][OURS]['median']:,.1f}",
         text(row["lead"], "{:.2f}×"), text(row["roof_fraction"], "{:.2f}"),
         text(row["clock_mhz"], "{:.0f}"), text(row["power_w"], "{:.0f}")]
        for row in rows
    ]  # fmt: skip


def choices_to_mend(record: Record, margin: float = MARGIN) -> Table:
    """Where another of our kernels takes less than the chosen one by more than the margin, the
    largest losses first."""
    losses = []
    for row in record["results"]:
        others = {n: t["median"] for n, t in row["us"].items() if n not in (OURS, RIVAL)}
        best = min(others, key=others.__getitem__, default=None)
        if best and (loss := row["us"][OURS]["median"] / others[best] - 1) > margin:
            losses.append((loss, row, best))
    losses.sort(key=lambda item: -item[0])
    header = ["sequences × tokens", "heads", "query tokens", "chosen", "faster", "loss"]
    return header, [
        [*_shape(row), f"`{row['kernel']}`", f"`{best}`", f"{100 * loss:.0f} %"]
        for loss, row, best in losses
    ]


def markdown(table: Table) -> str:
    header, rows = table
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


def print_tables(record: Record) -> None:
    for title, (header, rows) in (
        ("The least leads over FlashMLA", worst(record, "lead")),
        ("The least fractions of the roof", worst(record, "roof_fraction")),
        (
            f"Another kernel is ahead of the chosen one by over {MARGIN:.0%}",
            choices_to_mend(record),
        ),
    ):
        print(f"\n{title}: {len(rows)} cells")
        if rows:
            print(markdown((header, rows[:20])), end="", flush=True)
