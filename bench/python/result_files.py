"""Reads the benchmarks' result files for bench/regress.py: cases with the range of their times, the
machine, and what it gave at the time."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

MICROSECONDS = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
NORMAL_P90 = 1.2816  # standard deviations


class Refusal(Exception):
    """A message in four parts: where, what arrived, what is allowed, what to do."""


@dataclass
class Case:
    """Times of one case, microseconds. `p10` is None if there is but one sample."""

    us: float
    p10: Optional[float] = None
    p90: Optional[float] = None
    kernel: str = ""
    clock_mhz: Optional[float] = None


@dataclass
class Results:
    path: Path
    kind: str
    commit: str
    machine: Dict[str, Any]  # must be equal to compare
    conditions: Dict[str, float]  # roofs, clocks: what the machine gave then; more is faster
    cases: Dict[str, Case]
    remarks: Dict[str, Any] = field(default_factory=dict)  # said if they differ


def percentile(values: List[float], fraction: float) -> float:
    ordered = sorted(values)
    position = (len(ordered) - 1) * fraction
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def case_of_samples(samples: List[float], **details: Any) -> Case:
    if len(samples) == 1:
        return Case(samples[0], **details)
    p10, median, p90 = (percentile(samples, fraction) for fraction in (0.1, 0.5, 0.9))
    return Case(median, p10, p90, **details)


def numbers(mapping: Dict[str, Any]) -> Dict[str, float]:
    """Entries that are numbers, or text that is one, and above 0."""
    found = {}
    for name, value in mapping.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if number > 0 and not isinstance(value, bool):
            found[name] = number
    return found


def read_google_benchmark(path: Path, data: Dict[str, Any]) -> Results:
    context = data["context"]
    samples: Dict[str, List[float]] = {}
    aggregates: Dict[str, Dict[str, float]] = {}
    for row in data["benchmarks"]:
        if row.get("error_occurred"):
            continue
        us = row["real_time"] * MICROSECONDS[row["time_unit"]]
        if row.get("run_type") == "aggregate":
            aggregates.setdefault(row["run_name"], {})[row["aggregate_name"]] = us
        else:
            samples.setdefault(row["run_name"], []).append(us)
    cases = {name: case_of_samples(times) for name, times in samples.items()}
    for name, found in aggregates.items():
        if name not in cases and {"median", "stddev"} <= set(found):
            width = NORMAL_P90 * found["stddev"]
            cases[name] = Case(found["median"], found["median"] - width, found["median"] + width)
    caches = [f"L{c['level']} {c['type']} {c['size']}" for c in context.get("caches", [])]
    # The machine's roofs, not the sweep that found them.
    roofs = {
        name: value
        for name, value in context.items()
        if ("_gflops_" in name or "_gbps_" in name) and "_accumulators" not in name
    }
    return Results(
        path=path,
        kind="Google Benchmark",
        commit=context.get("commit", "not recorded"),
        machine={
            "CPUs": context.get("num_cpus"),
            "MHz": context.get("mhz_per_cpu"),
            "caches": caches,
        },
        conditions=numbers(roofs),
        cases=cases,
        remarks={"microkernel": context.get("microkernel"), "load": context.get("load_avg")},
    )


MEASURED = {
    "us", "us_p10", "us_p90", "us_with_schedule", "us_schedule", "us_attention", "us_combine",
    "tflops", "gbps", "roof_fraction", "roof_gflops", "clock_mhz", "power_w", "runs",
    "schedule_us", "workspace_bytes", "kernel",
}  # fmt: skip
"""Fields of a result that are not part of the case. The kernel is not: another commit may choose
another one for the same case."""


def name_of(row: Dict[str, Any]) -> str:
    words = []
    for name, value in row.items():
        if name in MEASURED or value is False:
            continue
        if name == "tokens" and not row.get("varlen"):
            continue  # follows from b and s_k
        words.append(name if value is True else f"{name}={value}" if name != "op" else str(value))
    return " ".join(words)


def read_results(path: Path, data: Dict[str, Any]) -> Results:
    rows: Dict[str, List[Dict[str, Any]]] = {}
    for row in data["results"]:
        rows.setdefault(name_of(row), []).append(row)
    cases = {}
    for name, same in rows.items():
        by_kernel: Dict[str, List[Dict[str, Any]]] = {}
        for row in same:
            by_kernel.setdefault(row.get("kernel", ""), []).append(row)
        for kernel, repeats in by_kernel.items():
            full_name = name if len(by_kernel) == 1 else f"{name} kernel={kernel}"
            cases[full_name] = case_of_rows(repeats, kernel)
    machine = data.get("machine", {})
    clocks = [row["clock_mhz"] for row in data["results"] if row.get("clock_mhz")]
    conditions = numbers(data.get("roofs", {}))
    if clocks:
        conditions["median clock_mhz"] = statistics.median(clocks)
    return Results(
        path=path,
        kind="seesaw results",
        commit=data.get("commit", "not recorded"),
        machine={
            "device": data["device"],
            "SMs": data.get("num_sms"),
            "power limit": data.get("power_limit_w"),
            "CPUs": machine.get("cpus"),
            "caches": machine.get("cache_bytes"),
        },
        conditions=conditions,
        cases=cases,
        remarks={
            "driver": data.get("driver"),
            "compiler": machine.get("compiler"),
            "load": machine.get("load_average_before"),
        },
    )


def case_of_rows(rows: List[Dict[str, Any]], kernel: str) -> Case:
    """Rows of the same case: one, or repeats, whose ranges are joined."""
    clocks = [row["clock_mhz"] for row in rows if row.get("clock_mhz")]
    return Case(
        us=statistics.median(row["us"] for row in rows),
        p10=min(row["us_p10"] for row in rows),
        p90=max(row["us_p90"] for row in rows),
        kernel=kernel,
        clock_mhz=statistics.median(clocks) if clocks else None,
    )


def read_ladder(path: Path, data: Dict[str, Any]) -> Results:
    """A rung's fastest run bounds its range from below; the same distance above its median."""
    cases = {}
    for rung in data["rungs"]:
        if "microseconds_median" not in rung:
            continue  # this machine could not run it, or was only to check
        fastest, median = rung["microseconds_fastest"], rung["microseconds_median"]
        cases[f"rung {rung['rung']}: {rung['idea']}"] = Case(median, fastest, 2 * median - fastest)
    problem = data["problem"]
    words = [f"{name} {problem[name]}" for name in ("batch", "h_q", "s_q", "dtype")]
    return Results(
        path=path,
        kind="ladder",
        commit=data.get("commit", "not recorded"),
        machine={
            "device": data["device"],
            "problem": ", ".join([*words, f"{sum(problem['seq_lens'])} tokens"]),
        },
        conditions=(
            {"empty kernels/s": 1e6 / data["microseconds_of_an_empty_kernel"]}
            if "microseconds_of_an_empty_kernel" in data
            else {}
        ),
        cases=cases,
    )


def read_overhead(path: Path, data: Dict[str, Any]) -> Results:
    """bench/python/overhead.py: the least mean of a batch of calls bounds the range from below."""
    cases = {}
    for name, row in data["results"].items():
        least, median = row["min_us"], row["median_us"]
        cases[name] = Case(median, least, 2 * median - least)
    device = data["device"]
    return Results(
        path=path,
        kind="Python overhead",
        commit=data.get("commit", "not recorded"),
        machine={"device": data["devices"].get(device, device), "library": data["library"]},
        conditions={},
        cases=cases,
        remarks={name: data.get(name) for name in ("python", "tvm_ffi", "torch", "load_average")},
    )


def read(path: Path) -> Results:
    known = (
        "JSON of `seesaw bench`, seesaw_bench_gpu, Google Benchmark, seesaw_ladder, "
        "bench/python/overhead.py"
    )
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        message = f"{path}: {error.strerror}, allowed: a readable file. Check its name."
        raise Refusal(message) from error
    except ValueError as error:
        raise Refusal(f"{path}: not JSON ({error}), allowed: {known}. Measure again.") from error
    if not isinstance(data, dict):
        data = {}
    try:
        if "benchmarks" in data and "context" in data:
            results = read_google_benchmark(path, data)
        elif data.get("benchmark") == "ladder":
            results = read_ladder(path, data)
        elif "device" in data and isinstance(data.get("results"), list):
            results = read_results(path, data)
        elif "device" in data and isinstance(data.get("results"), dict):
            results = read_overhead(path, data)
        else:
            raise Refusal(f"{path}: no benchmark's result, allowed: {known}. Check the file.")
    except (KeyError, TypeError, AttributeError) as error:
        raise Refusal(f"{path}: lacks {error}, allowed: {known}. Measure again.") from error
    if not results.cases:
        raise Refusal(f"{path}: holds no case, allowed: one or more. Measure again.")
    return results
