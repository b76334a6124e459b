"""The counters in Prometheus' text format."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, NamedTuple

from seesaw._library import library
from seesaw._stats import FUNCTIONS
from seesaw._tables import STATUSES
from seesaw._version import __version__

Row = Dict[str, Any]


class _Metric(NamedTuple):
    name: str
    type: str
    help: str
    field: str
    rows: Callable[[Row], bool]
    """Which rows have it: a number that the host cannot know is left out, not shown as 0."""


def _of_a_kernel(row: Row) -> bool:
    return row["kernel"] != "none"


def _lengths_known(row: Row) -> bool:
    return row["lengths_known"]


_METRICS = (
    _Metric(
        "seesaw_sequences_total",
        "counter",
        "Sequences of successful runs.",
        "sequences",
        _of_a_kernel,
    ),
    _Metric(
        "seesaw_tensor_bytes_total",
        "counter",
        "Bytes of q, out and lse of successful runs.",
        "tensor_bytes",
        _of_a_kernel,
    ),
    _Metric(
        "seesaw_kv_planned_bytes_total",
        "counter",
        "Cache bytes of successful runs if every sequence were as long as planned: an upper bound.",
        "kv_bytes_planned",
        _of_a_kernel,
    ),
    _Metric(
        "seesaw_kv_tokens_total",
        "counter",
        "Sum of seq_lens of successful runs, where they lie in host memory.",
        "kv_tokens",
        _lengths_known,
    ),
    _Metric(
        "seesaw_kv_bytes_total",
        "counter",
        "Cache bytes of these tokens, each once a sequence, where seq_lens lie in host memory.",
        "kv_bytes",
        _lengths_known,
    ),
    _Metric(
        "seesaw_schedule_pieces_total",
        "counter",
        "Pieces of work of successful schedules made in host memory.",
        "pieces",
        _lengths_known,
    ),
    _Metric(
        "seesaw_schedule_split_sequences_total",
        "counter",
        "Sequences of more than one piece in these schedules.",
        "split_sequences",
        _lengths_known,
    ),
    _Metric(
        "seesaw_schedule_partials_total",
        "counter",
        "Partial results that these schedules have merged.",
        "partials",
        _lengths_known,
    ),
    _Metric(
        "seesaw_plans",
        "gauge",
        "Plans made and not destroyed.",
        "plans",
        _of_a_kernel,
    ),
    _Metric(
        "seesaw_plan_workspace_bytes_max",
        "gauge",
        "Largest workspace that a plan asked for.",
        "workspace_bytes",
        _of_a_kernel,
    ),
)


def stats_prometheus() -> str:
    """The same as `stats()` in Prometheus' text format, for an endpoint to return as `text/plain`."""
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
    for metric in _METRICS:
        lines += _head(metric.name, metric.type, metric.help)
        lines += _samples(metric, rows)
    return "".join(f"{line}\n" for line in lines)


def _head(name: str, kind: str, help_text: str) -> List[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _samples(metric: _Metric, rows: Iterable[Row]) -> List[str]:
    return [
        f"{metric.name}{_labels(row)} {row[metric.field]}" for row in rows if metric.rows(row)
    ]


def _labels(row: Row, **more: str) -> str:
    """Names of operations, kernels, functions and statuses: nothing that has to be escaped."""
    labels = {"operation": row["operation"], "kernel": row["kernel"], **more}
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
