"""What the library can tell before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Optional

from seesaw._arrays import Array
from seesaw._library import library
from seesaw._problem import Problem
from seesaw._schedule import Schedule, plan_info, planned


@dataclass(frozen=True)
class KernelSupport:
    """One kernel's answer to a problem; `reason`: why not."""

    kernel: str
    supported: bool
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Which kernel a problem gets, and what its plan decided.

    `kernel` is None, and so are the numbers, if no kernel can run it; `kernels` has the reasons.
    """

    kernel: Optional[str]
    kernels: List[KernelSupport]
    workspace_bytes: Optional[int] = None
    schedule_bytes: Optional[int] = None
    num_workers: Optional[int] = None
    tile_tokens: Optional[int] = None
    tile_rows: Optional[int] = None
    fixed_split_tiles: Optional[int] = None

    def __str__(self) -> str:
        lines = [f"kernel {self.kernel or 'none'}"]
        if self.kernel is not None:
            lines.append(
                f"  {self.num_workers} workers, tiles of {self.tile_rows} rows x "
                f"{self.tile_tokens} tokens, workspace {self.workspace_bytes} bytes, "
                f"schedule {self.schedule_bytes} bytes"
            )
        for answer in self.kernels:
            lines.append(f"  {answer.kernel}: {'yes' if answer.supported else answer.reason}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Device:
    """A device; `reason`: why kernels cannot run on it."""

    device: str
    usable: bool
    name: str
    num_units: int
    memory_bytes: int
    features: str
    reason: str


@dataclass(frozen=True)
class Info:
    """Version, devices, kernels in order of preference, threads used where 0 is asked for."""

    version: str
    devices: List[Device]
    kernels: List[str]
    max_threads: int


class Piece(NamedTuple):
    """Tiles [tile_begin, tile_end) of one sequence that one worker does; `partial`: slot of its
    partial result, or -1 if it writes out directly."""

    worker: int
    sequence: int
    tile_begin: int
    tile_end: int
    partial: int


def supports(problem: Problem) -> List[KernelSupport]:
    """Every kernel's answer, in order of preference. Raises ValueError if it is malformed."""
    return [KernelSupport(**row) for row in library.query("kernel_support", *problem.to_fields())]


def explain(problem: Problem) -> Explanation:
    """Which kernel the problem gets, why not the others, and what the plan decided."""
    answers = supports(problem)
    try:
        plan = plan_info(problem.to_fields())
    except NotImplementedError:
        return Explanation(kernel=None, kernels=answers)
    return Explanation(kernels=answers, **plan)


def workspace_size(problem: Problem) -> int:
    """Elements of the uint8 array to pass as `workspace`; 0: none is needed.

    Some bytes more than the plan's figure, so that an array may start anywhere.
    """
    return planned(problem.to_fields()).workspace_elements


def info() -> Info:
    """Version, devices and kernels of the loaded library."""
    facts = library.query("info")
    return Info(**{**facts, "devices": [Device(**row) for row in facts["devices"]]})


def pieces(schedule: Schedule, buffer: Optional[Array] = None) -> List[Piece]:
    """What each worker does, in order of worker.

    buffer: `schedule.buffer` copied to host memory; needed if the schedule was made on a GPU.
    """
    source = schedule.buffer if buffer is None else buffer
    rows = library.query("schedule_pieces", source, *schedule.fields)
    return [Piece(*row) for row in rows]
