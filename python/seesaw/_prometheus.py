"""The counters in Prometheus' text format."""

from __future__ import annotations

from typing import Any, Dict, List

from seesaw._library import library
from seesaw._stats import FUNCTIONS
from seesaw._tables import STATUSES
from seesaw._version import __version__

Row = Dict[str, Any]

_METRICS = {
    "sequences": ("seesaw_sequences_total", "Sequences of successful runs."),
    "tensor_bytes": ("seesaw_tensor_bytes_total", "Bytes of q, out and lse of successful runs."),
    "kv_bytes_planned": (
        "seesaw_kv_planned_bytes_total",
        "Cache bytes of successful runs if every sequence were as long as planned: an upper bound.",
    ),
    "kv_tokens": (
        "seesaw_kv_tokens_total",
        "Sum of seq_lens of successful runs, where they lie in host memory.",
    ),
    "kv_bytes": (
        "seesaw_kv_bytes_total",
        "Cache bytes of these tokens, each once a sequence, where seq_lens lie in host memory.",
    ),
    "pieces": (
        "seesaw_schedule_pieces_total",
        "Pieces of work of successful schedules made in host memory.",
    ),
    "split_sequences": (
        "seesaw_schedule_split_sequences_total",
        "Sequences of more than one piece in these schedules.",
    ),
    "partials": (
        "seesaw_schedule_partials_total",
        "Partial results that these schedules have combined.",
    ),
    "plans": ("seesaw_plans", "Plans made and not destroyed."),
    "workspace_bytes": (
        "seesaw_plan_workspace_bytes_max",
        "Largest workspace that a plan asked for.",
    ),
}
"""By the row's field; counters end in _total, the others are gauges."""

_WHERE_LENGTHS_ARE_KNOWN = {"kv_tokens", "kv_bytes", "pieces", "split_sequences", "partials"}
"""Left out of other rows, not shown as 0: there the host cannot know them."""


def stats_prometheus() -> str:
    """`stats()` in Prometheus' text format, for an endpoint to return as `text/plain`."""
    rows = library.query("stats")
    lines = _head("seesaw_build_info", "gauge", "Always 1; the label names the library's version.")
    lines.append(f'seesaw_build_info{{version="{__version__}"}} 1')
    lines += _head("seesaw_calls_total", "counter", "Calls that returned, by function and status.")
    for row in rows:
        for function, statuses in zip(FUNCTIONS, row["calls"]):
            for name, status in STATUSES.items():
                labels = _labels(row, function=function, status=f"SEESAW_{name.upper()}")
                lines.append(f"seesaw_calls_total{labels} {statuses[status]}")
    lines += _head(
        "seesaw_call_seconds_total",
        "counter",
        "Wall time inside these calls; on a GPU that is launching, not running.",
    )
    for row in rows:
        for function, nanoseconds in zip(FUNCTIONS, row["nanoseconds"]):
            seconds = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
            lines.append(f"seesaw_call_seconds_total{_labels(row, function=function)} {seconds}")
    for field, (name, help_text) in _METRICS.items():
        lines += _head(name, "counter" if name.endswith("_total") else "gauge", help_text)
        lines += [f"{name}{_labels(row)} {row[field]}" for row in rows if _has(row, field)]
    return "".join(f"{line}\n" for line in lines)


def _head(name: str, kind: str, help_text: str) -> List[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _has(row: Row, field: str) -> bool:
    if field in _WHERE_LENGTHS_ARE_KNOWN:
        return row["lengths_known"]
    return row["kernel"] != "none"


def _labels(row: Row, **more: str) -> str:
    """Names of operations, kernels, functions and statuses: nothing that has to be escaped."""
    labels = {"operation": row["operation"], "kernel": row["kernel"], **more}
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
