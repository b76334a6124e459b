"""A comparison in a few lines: how others' times relate to ours, as a Markdown table."""

from __future__ import annotations

import statistics
from typing import Dict, List, Sequence

from records import Record, short


def ratios_by_rival(records: Sequence[Record], ours: str) -> Dict[str, Dict[str, float]]:
    """{rival: {shape: time of the rival / time of ours}}."""
    times: Dict[str, Dict[str, float]] = {}
    for r in records:
        shape = f"b {r.b}, h_q {r.h_q}, s_q {r.s_q}, s_k {short(r.s_k)}"
        times.setdefault(shape, {})[r.backend] = r.us
    found: Dict[str, Dict[str, float]] = {}
    for shape, by_backend in times.items():
        for name, us in by_backend.items():
            if ours in by_backend and not name.startswith(ours):
                found.setdefault(name, {})[shape] = us / by_backend[ours]
    return found


def table(records: Sequence[Record], ours: str = "seesaw") -> str:
    lines: List[str] = [
        f"| time of the other / time of {ours} | shapes | geometric mean | from | to | below 1 |",
        "|---|---|---|---|---|---|",
    ]
    for rival, ratios in sorted(ratios_by_rival(records, ours).items()):
        low, high = (choose(ratios, key=ratios.__getitem__) for choose in (min, max))
        below = sum(ratio < 1 for ratio in ratios.values())
        lines.append(
            f"| `{rival}` | {len(ratios)} | {statistics.geometric_mean(ratios.values()):.2f} | "
            f"{ratios[low]:.2f} ({low}) | {ratios[high]:.2f} ({high}) | {below} |"
        )
    return "\n".join(lines)
