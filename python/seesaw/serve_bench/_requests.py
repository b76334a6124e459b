"""What is served: requests, when they arrive, how long they are. The same for every attention."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Tuple


class Refusal(Exception):
    """A message in four parts: where, what arrived, what is allowed, what to do."""


@dataclass(frozen=True)
class Request:
    """One of a trace.

    Attributes:
        arrival_s: Seconds after the first moment of the trace.
        prompt_tokens: Of its prompt. new_tokens: To be generated, no more and no fewer.
    """

    arrival_s: float
    prompt_tokens: int
    new_tokens: int

    def as_json(self) -> Dict[str, Any]:
        return asdict(self)


def range_of(text: str, where: str) -> Tuple[int, int]:
    """Of "128" or "64-512", both ends included."""
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        low, high = 0, 0
    if not 1 <= low <= high:
        raise Refusal(
            f"{where} = {text}, allowed: a number from 1 on, or two as in 64-512. Correct it."
        )
    return low, high


def random_trace(
    count: int, rate: float, prompt: Tuple[int, int], new: Tuple[int, int], seed: int
) -> List[Request]:
    """So many requests, of lengths that are uniform in their ranges.

    rate: Arrivals a second, a Poisson process; 0: all are there at the beginning.
    """
    draw = random.Random(seed)
    made, now = [], 0.0
    for _ in range(count):
        made.append(Request(round(now, 6), draw.randint(*prompt), draw.randint(*new)))
        now += draw.expovariate(rate) if rate else 0.0
    return made


def read_trace(path: Path) -> List[Request]:
    """Of a file with a JSON object a line, which has the attributes of `Request`; by arrival."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Refusal(
            f"--trace: {path}: {error.strerror}, needed: a readable file. Check the path."
        ) from None
    requests = [_read_request(f"--trace: {path}:{n}", t) for n, t in enumerate(lines, 1) if t]
    if not requests:
        raise Refusal(f"--trace: {path} has no request, needed: a JSON object a line. Add some.")
    return sorted(requests, key=lambda request: request.arrival_s)


def _read_request(where: str, line: str) -> Request:
    names = [field.name for field in fields(Request)]
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or set(found) != set(names):
        raise Refusal(
            f"{where}: {line[:60]!r}, needed: a JSON object of {', '.join(names)}. Mend the line."
        )
    arrival, counts = found["arrival_s"], [found["prompt_tokens"], found["new_tokens"]]
    is_time = isinstance(arrival, (int, float)) and not isinstance(arrival, bool) and arrival >= 0
    if not is_time or not all(type(n) is int and n >= 1 for n in counts):
        raise Refusal(
            f"{where}: {line[:60]!r}, allowed: arrival_s from 0 on, tokens from 1 on. Mend the "
            "line."
        )
    return Request(float(arrival), *counts)


def prompts_of(requests: List[Request], vocabulary: int, seed: int) -> List[List[int]]:
    """Random tokens for each request's prompt. 0 is what shorter prompts of a batch are padded
    with, 1 and 2 often end a text."""
    draw = random.Random(seed)
    least = min(3, vocabulary - 1)
    return [
        [draw.randrange(least, vocabulary) for _ in range(request.prompt_tokens)]
        for request in requests
    ]
