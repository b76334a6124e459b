"""Schedules, and the sizes of the buffers of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence

from seesaw._arrays import Array, ArrayLibrary, call, library_of, narrowed
from seesaw._fields import Operation, ProblemBase, dtype_name
from seesaw._keys import Key, given, key_of_problem, make_options, read_key
from seesaw._library import INT32_WANTED, library
from seesaw._tables import DENSE_DECODE, Options, OptionSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

ROOM_TO_ALIGN = 255
"""Schedules and workspaces start at multiples of 256 bytes, arrays anywhere: so an array has that
much more, and its aligned part is used."""


def workspace_elements(key: Key) -> int:
    """Of the uint8 array for the workspace; 0: none is needed."""
    size = library.workspace_bytes(key)
    return size and size + ROOM_TO_ALIGN


class Schedule:
    """Which worker does which tiles, for the lengths of one decoding step.

    Made by `make_schedule`; every layer of the step may use it, from several threads and streams.
    The buffer stays where it is: `update` refills it for the next step, also inside a CUDA graph.

    Attributes:
        problem, options, operation: What it was made for.
        buffer: uint8, the caller's to copy, not to write.
    """

    __slots__ = ("_options", "_problem", "buffer", "d_v", "head", "key", "key_text", "operation")

    def __init__(self, key: Key, like: Array, operation: Operation = DENSE_DECODE) -> None:
        """Of a key, its buffer allocated but not filled."""
        elements = library.schedule_bytes(key) + ROOM_TO_ALIGN
        self.key = key
        self.key_text = key.hex()  # as an operator's argument
        self.operation = operation
        names = _prepared(operation)
        self.buffer = library_of(like, names[0], operation.name).empty((elements,), "uint8", like)
        self.d_v = 0  # where a call allocates out
        self.head: Optional[bytes] = None  # of `make_head`, once a call has asked
        self._problem: Optional[ProblemBase] = None
        self._options: Optional[Options] = None

    def make_head(self) -> bytes:
        """The key and where the buffer is, as `library.run_scheduled` takes them."""
        self.head = library.head(self.key, self.buffer)
        return self.head

    @property
    def workspace_elements(self) -> int:
        return workspace_elements(self.key)

    @property
    def problem(self) -> ProblemBase:
        if self._problem is None:
            self._problem, self._options = read_key(self.key)
        return self._problem

    @property
    def options(self) -> Options:
        if self._options is None:
            self._problem, self._options = read_key(self.key)
        return self._options

    def update(self, seq_lens: Array, *more: Optional[Array]) -> Schedule:
        """Fills the schedule for other lengths. Returns itself. On a GPU: one small launch on the
        current stream of the array library, no synchronisation, capturable in a CUDA graph.

        seq_lens: [b] int32 on the planned device, b up to the problem's batch. In sparse operations
            the indices in its place, of which the shape alone counts.
        more: What else the operation's schedules are made from: nothing in dense decoding,
            topk_length and extra_topk_length in sparse ones, None where they are not given.

        Raises:
            ValueError, TypeError: The lengths are malformed, on another device, or more than the
                problem's batch.
        """
        names = _prepared(self.operation)
        arrays = library_of(seq_lens, names[0], self.operation.name)
        if len(more) >= len(names):
            raise TypeError(
                f"{self.operation.name}: {1 + len(more)} arrays to schedule, allowed: "
                f"{', '.join(names)}. Leave the rest out."
            )
        tensors = (seq_lens, *more, *[None] * (len(names) - 1 - len(more)))
        traces = arrays.traces_calls
        if traces is not None and traces():
            arrays.tracer().record_prepare(self, tensors)
        else:
            prepare(arrays, self.key, self.buffer, tensors, self.operation)
        return self

    def __repr__(self) -> str:
        kernel = library.query("plan_info", self.key)["kernel"]
        return f"Schedule({self.problem!r}, {self.options!r}, {kernel})"


def prepare(
    arrays: ArrayLibrary,
    key: Key,
    buffer: Array,
    tensors: Sequence[Any],
    operation: Operation = DENSE_DECODE,
) -> None:
    """Fills the buffer of a schedule. `tensors`: what the operation's schedules are made from."""
    arrays.check_writable(buffer, "schedule", operation.name)
    head = (key, arrays.stream(tensors[0]), buffer)
    names, where = _prepared(operation), operation.name
    if call(arrays, library.prepare, head, tensors, (), names, where) == INT32_WANTED:
        prepared = [arg for arg in operation.args if arg.prepares]
        tensors = narrowed(arrays, prepared, tensors, where)
        call(arrays, library.prepare, head, tensors, (), names, where)


def _prepared(operation: Operation) -> List[str]:
    """Names of what an operation's schedules are made from."""
    return [arg.name for arg in operation.args if arg.prepares] or ["seq_lens"]


def make_schedule(
    problem: ProblemBase,
    seq_lens: Array,
    *more: Optional[Array],
    **options: Unpack[OptionSettings],
) -> Schedule:
    """The schedule of a problem for these lengths.

    On a GPU: one small launch on the current stream of the array library, no synchronisation,
    capturable in a CUDA graph. Same lengths, same schedule.

    Args:
        problem: Made from shapes alone, or by `Problem.of(q, kv_cache, block_table)`.
        seq_lens: [b] int32: tokens in the cache, the s_q new ones included; a negative length
            counts as 0. b may be less than the problem's batch. Of a sparse problem: the indices.
        more: Of a sparse problem: topk_length, and extra_topk_length. None: not given.
        options: The attributes of `Options`; the device is that of `seq_lens`.

    Raises:
        ValueError, TypeError: The problem or the lengths are malformed.
        NotImplementedError: No kernel of this build runs the problem here.
    """
    if not isinstance(problem, ProblemBase):
        raise TypeError(
            f"make_schedule: problem of type {type(problem).__name__}, allowed: a seesaw.Problem. "
            "Make it of shapes, or by Problem.of(q, kv_cache, block_table)."
        )
    operation = problem.operation
    arrays = library_of(seq_lens, _prepared(operation)[0], operation.name)
    made = make_options({"device": arrays.device_name(seq_lens), **given(options)})
    schedule = Schedule(key_of_problem(problem, made), seq_lens, operation)
    schedule._problem, schedule._options = problem, made
    schedule.d_v = getattr(problem, "d_v", 0)
    return schedule.update(seq_lens, *more)


def require_schedule(operation: Operation, schedule: Any) -> None:
    """Refuses what is no schedule of the operation."""
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"{operation.name}: schedule of type {type(schedule).__name__}, allowed: a Schedule. "
            "Get one from make_schedule."
        )
    if schedule.operation is not operation:
        raise ValueError(
            f"{operation.name}: a schedule of {schedule.operation.name}, allowed: one of "
            f"{operation.name}. Make it of this operation's problem."
        )


def check_agreement(
    schedule: Schedule, d_v: Optional[int], settings: Mapping[str, Any], s_q: Optional[int] = None
) -> None:
    """Refuses what is given with a schedule that was made for something else. None: not given."""
    for name, value in {"d_v": d_v, "s_q": s_q, **settings}.items():
        holder = schedule.problem if hasattr(schedule.problem, name) else schedule.options
        if not hasattr(holder, name):
            where = schedule.operation.name
            raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")
        agreed = getattr(holder, name)
        if name.endswith("kv_format") and value is not None:
            value = dtype_name(value)
        if value is not None and value != agreed:
            raise ValueError(
                f"{schedule.operation.name}: {name} = {value!r}, allowed: {agreed!r}, as in the "
                "schedule. Leave it out, or make another schedule."
            )
