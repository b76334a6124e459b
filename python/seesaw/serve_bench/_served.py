"""What a run of a trace leaves: moments of tokens, and the figures that are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Sequence

from seesaw.serve_bench._requests import Request


@dataclass
class Served:
    """One round of a trace by one attention. Times are seconds, moments count from the trace's
    beginning.

    Attributes:
        first: Of each request, when its first token was there. last: When its last one was.
        tokens: Of each request, what was generated.
        busy_s: What the loop worked: its waits for arrivals are not in it.
        prefill_s: Of every step that computed prompts. decode_s: Of every other step.
        kv_bytes: The largest cache. kv_tokens: Tokens that it had room for then.
    """

    first: List[float]
    last: List[float]
    tokens: List[List[int]]
    busy_s: float = 0.0
    prefill_s: List[float] = field(default_factory=list)
    decode_s: List[float] = field(default_factory=list)
    kv_bytes: int = 0
    kv_tokens: int = 0

    @classmethod
    def nothing_yet(cls, count: int) -> Served:
        return cls([0.0] * count, [0.0] * count, [[] for _ in range(count)])


def spread(values: Sequence[float]) -> Dict[str, float]:
    """Median, 10th and 90th percentile, by linear interpolation."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return {"median": at(0.5), "p10": at(0.1), "p90": at(0.9)}


def agreement(tokens: List[List[int]], first: List[List[int]]) -> float:
    """The share of tokens up to each request's first one that differs. 1: the same text."""
    same = 0
    for mine, theirs in zip(tokens, first):
        pairs = list(zip(mine, theirs))
        same += next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    return same / max(1, sum(len(theirs) for theirs in first))


def figures_of(rounds: List[Served], requests: List[Request]) -> Dict[str, Any]:
    """Of all rounds together; the keys are those of a result's `figures` (docs/serve-bench.md)."""
    new = sum(request.new_tokens for request in requests)
    begins = [request.arrival_s for request in requests]
    waits = [1e3 * (at - t) for one in rounds for at, t in zip(one.first, begins)]
    whole = [1e3 * (at - t) for one in rounds for at, t in zip(one.last, begins)]
    largest = max(rounds, key=lambda one: one.kv_bytes)
    found: Dict[str, Any] = {
        "tokens_per_s": spread([new / one.busy_s for one in rounds]),
        "prefill_ms": spread([1e3 * t for one in rounds for t in one.prefill_s]),
        "decode_ms": None,
        "first_token_ms": spread(waits),
        "request_ms": spread(whole),
        "kv_bytes": largest.kv_bytes,
        "kv_bytes_per_token": largest.kv_bytes / max(1, largest.kv_tokens),
    }
    steps = [1e3 * t for one in rounds for t in one.decode_s]
    if steps:  # none where each request is of one token
        found["decode_ms"] = spread(steps)
    return found
