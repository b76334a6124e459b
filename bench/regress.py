#!/usr/bin/env python3
"""What moved between two result files, beyond the noise of the measurements.

    python bench/regress.py BEFORE.json AFTER.json
    python bench/regress.py bench/results/h200/OLD.json new.json --threshold 0.02 --json=report.json

Reads what the project's benchmarks write: `seesaw bench --json`, seesaw_bench_gpu, Google
Benchmark's JSON (seesaw_cpu_bench, with repetitions), `seesaw_ladder --json` and
bench/python/overhead.py; both files of one kind.

A case moved if its time changed by more than the threshold and the ranges from p10 to p90 (of the
samples, or of the repetitions) do not overlap. Where the machine itself was slower (or faster) by
more than --threshold, judged by the roofs and clocks that both files recorded, that is the
threshold for being slower (or faster). A case with one sample has no range and is not judged.

Files from different devices are refused (--across-devices compares them nonetheless). Exit codes:
0 nothing is slower, 1 something is, 2 the files cannot be compared. Needs nothing but Python 3.9.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).parent / "python"))

from result_files import Case, Refusal, Results, read

DEFAULT_THRESHOLD = 0.03
CLOCK_NOTE = 0.02  # a row whose own clock moved by more says so


@dataclass
class Change:
    case: str
    verdict: str  # "slower", "faster", "same", "not judged"
    before_us: float
    after_us: float
    change: float  # of the time: 0.1 is 10 % more
    before_range: Optional[Tuple[float, float]]
    after_range: Optional[Tuple[float, float]]
    note: str = ""


def differing(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name} {before.get(name)} -> {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def check_comparable(before: Results, after: Results, across_devices: bool) -> None:
    if before.kind != after.kind:
        raise Refusal(
            f"regress: {before.path} is {before.kind}, {after.path} is {after.kind}, allowed: two "
            "files of one kind. Compare results of the same benchmark."
        )
    difference = differing(before.machine, after.machine)
    if difference and not across_devices:
        raise Refusal(
            f"regress: measured on different machines ({'; '.join(difference)}), allowed: one "
            "device. Measure on the same one, or give --across-devices."
        )
    if not set(before.cases) & set(after.cases):
        raise Refusal(
            f"regress: {before.path} and {after.path} share no case (first of each: "
            f"{next(iter(before.cases))}; {next(iter(after.cases))}), allowed: one or more. "
            "Measure the same cases."
        )


def movements(before: Results, after: Results) -> Dict[str, float]:
    """Relative change of the machine's own rates that both files recorded: 0.1 is 10 % faster."""
    return {
        name: after.conditions[name] / value - 1
        for name, value in before.conditions.items()
        if name in after.conditions
    }


@dataclass
class Thresholds:
    """Least relative change of a time that counts; both above 0."""

    slower: float
    faster: float


def thresholds(least: float, moved_by: Dict[str, float]) -> Thresholds:
    """A machine slower by a third makes times half as long again, a faster one shorter."""
    times = [1 / (1 + move) - 1 for move in moved_by.values()]
    return Thresholds(
        slower=max([least, *times]), faster=max([least, *(-change for change in times)])
    )


def range_of(case: Case) -> Optional[Tuple[float, float]]:
    return None if case.p10 is None or case.p90 is None else (case.p10, case.p90)


def compare_case(name: str, before: Case, after: Case, least: Thresholds) -> Change:
    change = after.us / before.us - 1
    first, second = range_of(before), range_of(after)
    notes = []
    if before.kernel != after.kernel:
        notes.append(f"kernel {before.kernel} -> {after.kernel}")
    if before.clock_mhz and after.clock_mhz:
        if abs(after.clock_mhz / before.clock_mhz - 1) > CLOCK_NOTE:
            notes.append(f"clock {before.clock_mhz:.0f} -> {after.clock_mhz:.0f} MHz")
    if first is None or second is None:
        verdict = "not judged"
        notes.append("one sample: no range")
    elif change > least.slower and second[0] > first[1]:
        verdict = "slower"
    elif change < -least.faster and second[1] < first[0]:
        verdict = "faster"
    else:
        verdict = "same"
    return Change(name, verdict, before.us, after.us, change, first, second, ", ".join(notes))


@dataclass
class Comparison:
    before: Results
    after: Results
    least: Thresholds
    moved_by: Dict[str, float]  # the machine
    changes: List[Change]  # the largest slowdown first

    def count(self, verdict: str) -> int:
        return sum(change.verdict == verdict for change in self.changes)

    @property
    def exit_code(self) -> int:
        if self.count("not judged") == len(self.changes):
            return 2
        return 1 if self.count("slower") else 0


def compare(
    before: Results, after: Results, threshold: float, across_devices: bool = False
) -> Comparison:
    check_comparable(before, after, across_devices)
    moved_by = movements(before, after)
    least = thresholds(threshold, moved_by)
    changes = [
        compare_case(name, case, after.cases[name], least)
        for name, case in before.cases.items()
        if name in after.cases
    ]
    changes.sort(key=lambda change: -change.change)
    return Comparison(before, after, least, moved_by, changes)


def range_text(found: Optional[Tuple[float, float]]) -> str:
    return "" if found is None else f"{found[0]:.2f}..{found[1]:.2f}"


def table(changes: List[Change]) -> List[str]:
    rows = [("change", "before us", "p10..p90", "after us", "p10..p90", "", "case")]
    for c in changes:
        rows.append(
            (
                f"{c.change * 100:+.1f} %",
                f"{c.before_us:.2f}",
                range_text(c.before_range),
                f"{c.after_us:.2f}",
                range_text(c.after_range),
                c.verdict,
                c.case + (f" ({c.note})" if c.note else ""),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths)), row[6]])
        for row in rows
    ]


def text(comparison: Comparison, show_all: bool) -> str:
    before, after = comparison.before, comparison.after
    lines = [
        f"before  {before.path} (commit {before.commit})",
        f"after   {after.path} (commit {after.commit})",
    ]
    machine = differing(before.machine, after.machine)
    if machine:
        lines.append(f"OTHER MACHINE: {'; '.join(machine)}")
    lines += [f"differs {line}" for line in differing(before.remarks, after.remarks)]
    for name, move in comparison.moved_by.items():
        if abs(move) > 0.005:
            values = f"{before.conditions[name]:.4g} -> {after.conditions[name]:.4g}"
            lines.append(f"machine {name} {values} ({move * 100:+.1f} %)")
    slower, faster = comparison.least.slower * 100, comparison.least.faster * 100
    lines.append(
        f"moved   by +{slower:.1f} % (slower) or -{faster:.1f} % (faster) and apart from p10 to p90"
    )
    shown = [c for c in comparison.changes if show_all or c.verdict in ("slower", "faster")]
    if shown:
        lines += ["", *table(shown)]
    for name, these, those in (("before", before, after), ("after", after, before)):
        alone = len([case for case in these.cases if case not in those.cases])
        if alone:
            lines.append(f"only {name}: {alone} cases")
    lines.append("")
    lines.append(
        ", ".join(
            f"{comparison.count(verdict)} {verdict}"
            for verdict in ("slower", "faster", "same", "not judged")
        )
        + f" of {len(comparison.changes)} cases"
    )
    return "\n".join(lines) + "\n"


def as_json(comparison: Comparison) -> Dict[str, Any]:
    before, after = comparison.before, comparison.after
    return {
        "before": {"file": str(before.path), "commit": before.commit},
        "after": {"file": str(after.path), "commit": after.commit},
        "kind": before.kind,
        "least_change": asdict(comparison.least),
        "machine_differs": differing(before.machine, after.machine),
        "machine_moved_by": comparison.moved_by,
        "only_before": [name for name in before.cases if name not in after.cases],
        "only_after": [name for name in after.cases if name not in before.cases],
        "slower": comparison.count("slower"),
        "faster": comparison.count("faster"),
        "same": comparison.count("same"),
        "not_judged": comparison.count("not judged"),
        "changes": [asdict(change) for change in comparison.changes],
    }


def main(argv: Optional[List[str]] = None) -> int:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="least relative change that counts (0.03)",
    )
    parser.add_argument("--all", action="store_true", help="also show cases that did not move")
    parser.add_argument(
        "--across-devices", action="store_true", help="compare different machines nonetheless"
    )
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="JSON instead of the table, or to FILE"
    )
    arguments = parser.parse_args(argv)
    try:
        if not 0 <= arguments.threshold < 1:
            raise Refusal(
                f"--threshold: {arguments.threshold}, allowed: 0 to below 1. 0.03 is 3 percent."
            )
        comparison = compare(
            read(arguments.before),
            read(arguments.after),
            arguments.threshold,
            arguments.across_devices,
        )
        if arguments.json:
            report = json.dumps(as_json(comparison), indent=1) + "\n"
            if arguments.json != "-":
                Path(arguments.json).write_text(report)
        if arguments.json != "-":
            report = text(comparison, arguments.all)
        sys.stdout.write(report)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"{error.filename}: {error.strerror}, allowed: a file that can be written. Choose "
            "another one.",
            file=sys.stderr,
        )
        return 2
    return comparison.exit_code


if __name__ == "__main__":
    sys.exit(main())
