"""Schedules, and the sizes of the buffers of a call."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, NamedTuple

from seesaw._arrays import Array, call, library_of
from seesaw._library import library
from seesaw._problem import Fields, Problem

_ROOM_TO_ALIGN = 255
"""Schedules and workspaces start at multiples of 256 bytes, arrays anywhere: so an array has that
much more, and its aligned part is used."""


@lru_cache(maxsize=256)
def plan_info(fields: Fields) -> Dict[str, Any]:
    """What the plan of a problem decided. Raises NotImplementedError if no kernel can run it."""
    return library.query("plan_info", *fields)


class Planned(NamedTuple):
    """A problem, and the elements of the uint8 arrays that its plan needs; 0: none is needed."""

    fields: Fields
    schedule_elements: int
    workspace_elements: int


@lru_cache(maxsize=256)
def planned(fields: Fields) -> Planned:
    info = plan_info(fields)
    workspace = info["workspace_bytes"]
    return Planned(
        fields, info["schedule_bytes"] + _ROOM_TO_ALIGN, workspace and workspace + _ROOM_TO_ALIGN
    )


class Schedule:
    """Which worker does which tiles, for the lengths of one decoding step.

    Made by `make_schedule`; every layer of the step may use it, from several threads and streams.
    The buffer stays where it is: `update` refills it for the next step, also inside a CUDA graph.
    """

    __slots__ = ("buffer", "fields", "planned", "problem")

    def __init__(self, problem: Problem, buffer: Array) -> None:
        self.problem = problem
        self.fields = problem.to_fields()
        self.planned = planned(self.fields)
        self.buffer = buffer

    def update(self, seq_lens: Array) -> Schedule:
        """Fills the schedule for other lengths, on the current stream. Returns itself.

        seq_lens: [b] int32 on the problem's device, b up to the problem's batch.
        """
        arrays = library_of(seq_lens, "seq_lens")
        stream = arrays.stream(seq_lens)
        call(arrays, library.make_schedule, (seq_lens, self.buffer), stream, *self.fields)
        return self

    def __repr__(self) -> str:
        return f"Schedule({self.problem!r}, {plan_info(self.fields)['kernel']})"


def make_schedule(problem: Problem, seq_lens: Array) -> Schedule:
    """The schedule of a problem for these lengths.

    On a GPU: one small launch on the current stream, no synchronisation, capturable in a graph.
    Deterministic.

    Args:
        problem: Made from shapes alone, or by `Problem.of(q, kv_cache, block_table)`.
        seq_lens: [b] int32: tokens in the cache, the s_q new ones included; a negative length
            counts as 0. b may be less than the problem's batch.

    Raises:
        ValueError, TypeError: The problem or the lengths are malformed.
        NotImplementedError: No kernel of this build runs the problem here.
    """
    arrays = library_of(seq_lens, "seq_lens")
    elements = planned(problem.to_fields()).schedule_elements
    return Schedule(problem, arrays.empty((elements,), "uint8", seq_lens)).update(seq_lens)
