"""What the library can tell before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Union

from seesaw._arrays import CPU, Array, library_of
from seesaw._fields import ProblemBase
from seesaw._keys import Key, key_of_problem, make_options
from seesaw._library import library
from seesaw._schedule import Schedule, workspace_elements
from seesaw._tables import OptionSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class KernelSupport:
    """One kernel's answer to a problem; `reason`: why not."""

    kernel: str
    supported: bool
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Which kernel a problem gets, and what its plan decided.

    `kernel` is None, and so are the sizes, if no kernel can run it; `kernels` has the reasons.
    `tuning`: which tuning file is in use, or why none. `numbers`: what else the kernel decided, by
    name; they are attributes, too: `explanation.num_workers`.
    """

    kernel: Optional[str]
    kernels: List[KernelSupport]
    workspace_bytes: Optional[int] = None
    schedule_bytes: Optional[int] = None
    tuning: str = ""
    numbers: Dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        if name == "numbers" or name not in self.numbers:
            raise AttributeError(f"no kernel's number {name!r} in {self.__class__.__name__}")
        return self.numbers[name]

    def __str__(self) -> str:
        lines = [f"kernel {self.kernel or 'none'}"]
        if self.kernel is not None:
            numbers = "".join(f"{name} {value}, " for name, value in self.numbers.items())
            lines.append(
                f"  {numbers}workspace {self.workspace_bytes} bytes, "
                f"schedule {self.schedule_bytes} bytes"
            )
        for answer in self.kernels:
            lines.append(f"  {answer.kernel}: {'yes' if answer.supported else answer.reason}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        device: As options take it: "cpu", "cuda:0".
        usable: Whether kernels can run on it; reason: why not.
        num_units: Cores that the process may use, or streaming multiprocessors.
        memory_bytes: Of the whole device.
        features: Instruction sets and what is used of them, or the compute capability.
    """

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
    """Tiles [tile_begin, tile_end) of one sequence that one worker does; `row_group`: which tiles
    of query rows, 0 where they are not cut into groups; `partial`: slot of its partial result, or
    -1 if it writes out directly."""

    worker: int
    sequence: int
    row_group: int
    tile_begin: int
    tile_end: int
    partial: int


Planned = Union[ProblemBase, Schedule]
"""A problem, to be planned with options; or a schedule, which brings its own."""


def _key(planned: Planned, options: Any) -> Key:
    if not isinstance(planned, Schedule):
        if not isinstance(planned, ProblemBase):
            raise TypeError(
                f"seesaw: problem of type {type(planned).__name__}, allowed: a Problem or a "
                "Schedule. Make one of shapes, or by Problem.of(q, kv_cache, block_table)."
            )
        return key_of_problem(planned, make_options(options))
    if options:
        raise TypeError(
            f"seesaw: {', '.join(options)} given with a schedule, allowed: none of the options, "
            "as the schedule has its own. Pass its problem instead."
        )
    return planned.key


def _kernel_support(key: Key) -> List[KernelSupport]:
    return [KernelSupport(**row) for row in library.query("kernel_support", key)]


def supports(problem: Planned, **options: Unpack[OptionSettings]) -> List[KernelSupport]:
    """Every kernel's answer to a problem, in order of preference: the first that says yes runs it.
    Nothing runs.

    Args:
        problem: A problem; or a schedule, which brings its options.
        options: The attributes of `Options`: device is "cpu" if left out.

    Raises:
        ValueError, TypeError: The problem or an option is malformed.
    """
    return _kernel_support(_key(problem, options))


def explain(problem: Planned, **options: Unpack[OptionSettings]) -> Explanation:
    """Which kernel a problem gets, why not the others, and what the plan decided. Nothing runs.

    Args, Raises: As of `supports`. A problem that no kernel runs is no error here.
    """
    key = _key(problem, options)
    answers = _kernel_support(key)
    try:
        plan = library.query("plan_info", key)
    except NotImplementedError:
        return Explanation(kernel=None, kernels=answers)
    return Explanation(kernels=answers, **plan)


def workspace_size(problem: Planned, **options: Unpack[OptionSettings]) -> int:
    """Elements of the uint8 array to pass as `workspace`; 0: none is needed.

    Some bytes more than the plan's figure, so that an array may start anywhere. Give the schedule,
    or the problem with the options, the device among them, that the schedule is made with.

    Raises:
        ValueError, TypeError: The problem or an option is malformed.
        NotImplementedError: No kernel of this build runs the problem there.
    """
    return workspace_elements(_key(problem, options))


def info() -> Info:
    """Version, devices and kernels of the loaded library."""
    facts = library.query("info")
    return Info(**{**facts, "devices": [Device(**row) for row in facts["devices"]]})


def pieces(schedule: Schedule, buffer: Optional[Array] = None) -> List[Piece]:
    """What each worker does, in order of worker.

    buffer: `schedule.buffer` copied to host memory; needed if the schedule was made on a GPU.

    Raises:
        ValueError: The buffer is on a device, or is not this schedule's.
        TypeError: That is no schedule, or no array.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"pieces: schedule of type {type(schedule).__name__}, allowed: a Schedule. "
            "Get one from make_schedule."
        )
    source = schedule.buffer if buffer is None else buffer
    arrays = library_of(source, "buffer", "pieces")
    if arrays.device(source)[0] != CPU:
        raise ValueError(
            f"pieces: buffer is on {arrays.device_name(source)}, allowed: host memory. "
            "Pass a copy of schedule.buffer there."
        )
    source = arrays.seen(source, "buffer", "pieces")
    return [Piece(*row) for row in library.query("schedule_pieces", schedule.key, source)]
