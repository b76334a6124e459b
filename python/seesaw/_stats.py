"""What this process asked of the library so far, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

from seesaw._library import library
from seesaw._tables import STATUSES

FUNCTIONS = ("plan", "prepare", "run")
"""SEESAW_STATS_PLAN and so on."""


@dataclass(frozen=True)
class KernelStats:
    """Counters of one kernel since the library was loaded; of calls that ended before a kernel was
    chosen if `kernel` is "none". They only grow, but for `plans`: take differences.

    calls[function][status]: calls that returned; functions "plan", "prepare", "run", statuses
        "ok", "invalid_argument", "not_supported", "device_error", "internal_error", "invalid_type".
    seconds[function]: wall time inside these calls; on a GPU that is launching, not running.
    sequences, tensor_bytes (q, out, lse), kv_bytes_planned (an upper bound), kv_tokens, kv_bytes:
        of successful runs. pieces, split_sequences, partials: of successful schedules.
    lengths_known: False for kernels of a GPU, where lengths and schedules lie on the device:
        kv_tokens, kv_bytes, pieces, split_sequences and partials stay 0.
    plans: plans alive. workspace_bytes: the most that a plan asked for.
    """

    operation: str
    kernel: str
    lengths_known: bool
    calls: Dict[str, Dict[str, int]]
    seconds: Dict[str, float]
    sequences: int
    tensor_bytes: int
    kv_bytes_planned: int
    kv_tokens: int
    kv_bytes: int
    pieces: int
    split_sequences: int
    partials: int
    plans: int
    workspace_bytes: int


def stats() -> List[KernelStats]:
    """Counters of every kernel of this build, then of "none". Locks and waits for nothing."""
    rows = []
    for row in library.query("stats"):
        calls = row.pop("calls")
        nanoseconds = row.pop("nanoseconds")
        rows.append(
            KernelStats(
                calls={
                    function: {name: of[status] for name, status in STATUSES.items()}
                    for function, of in zip(FUNCTIONS, calls)
                },
                seconds={name: of * 1e-9 for name, of in zip(FUNCTIONS, nanoseconds)},
                **row,
            )
        )
    return rows
