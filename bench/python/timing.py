"""Interleaved timing of several calls: one of each in turn, round after round, so that clocks,
caches and other processes treat all alike."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

import torch

FLUSH_BYTES = 256 << 20
"""Written between calls to leave nothing of the case in a cache: five times a Hopper's L2."""


class CpuTimer:
    """Lets the worker threads of the call before fall asleep first: libraries with a thread pool
    each would otherwise spin on each other's cores."""

    _REST_SECONDS = 0.005

    def __init__(self, flush: bool) -> None:
        self._flush = torch.zeros(FLUSH_BYTES, dtype=torch.uint8) if flush else None

    def time(self, call: Callable[[], Any]) -> float:
        """Seconds of one call."""
        if self._flush is not None:
            self._flush.add_(1)
        time.sleep(self._REST_SECONDS)
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin


class CudaTimer:
    """By events on the current stream."""

    def __init__(self, flush: bool, device: torch.device) -> None:
        self._flush = torch.zeros(FLUSH_BYTES, dtype=torch.uint8, device=device) if flush else None
        self._begin = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)

    def time(self, call: Callable[[], Any]) -> float:
        if self._flush is not None:
            self._flush.add_(1)
        self._begin.record()
        call()
        self._end.record()
        self._end.synchronize()
        return self._begin.elapsed_time(self._end) * 1e-3


def capture(call: Callable[[], Any], calls: int = 1) -> Callable[[], Any]:
    """`calls` calls in a row as a graph's replay, which keeps the call and so its tensors alive.
    Raises what the call does if it cannot be captured."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()

    def replay(_keep_alive: Any = call) -> None:
        graph.replay()

    return replay


BURST_SECONDS, LONGEST_BURST = 1e-3, 20
"""A burst is as many calls as fill the time, as an engine's layers follow each other: so a graph's
own launch, the same for all, is no part of a call's time."""


def capture_burst(call: Callable[[], Any], timer: CudaTimer) -> Tuple[Callable[[], Any], int]:
    """(replay, calls in it)."""
    once = capture(call)
    timer.time(once)
    calls = max(1, min(LONGEST_BURST, round(BURST_SECONDS / timer.time(once))))
    return (capture(call, calls), calls) if calls > 1 else (once, 1)


def interleave(
    calls: Dict[str, Callable[[], Any]], timer: Any, seconds: float, min_rounds: int = 10
) -> Dict[str, List[float]]:
    """Seconds of each call, over at least `min_rounds` rounds and about `seconds` in all."""
    samples: Dict[str, List[float]] = {name: [] for name in calls}
    names = list(calls)
    for name in names:  # warm up
        timer.time(calls[name])
    begin = time.perf_counter()
    rounds = 0
    while rounds < min_rounds or time.perf_counter() - begin < seconds:
        for i in range(len(names)):
            name = names[(i + rounds) % len(names)]
            samples[name].append(timer.time(calls[name]))
        rounds += 1
    return samples
