"""Runs of any operation."""

from __future__ import annotations

from numbers import Real
from typing import Any, Optional, Sequence

from seesaw._arrays import Array, ArrayLibrary, check_arrays, narrowed
from seesaw._fields import Operation
from seesaw._keys import Key, flatten, key_of_tensors
from seesaw._library import BUFFERS_WANTED, INT32_WANTED, library
from seesaw._schedule import Schedule, workspace_elements


def run(
    operation: Operation,
    arrays: ArrayLibrary,
    key: Key,
    tensors: Sequence[Any],
    scalars: Sequence[float] = (),
    schedule: Optional[Array] = None,
    workspace: Optional[Array] = None,
    key_is_complete: bool = False,
    given_outputs: Sequence[Array] = (),
) -> None:
    """Runs an operation on tensors of one array library.

    key: Of `settings_key`, if the tensors are to tell the rest; or of a schedule, complete.
    tensors, scalars: In the order of the operation's table; None: not given, as is what is left out
        at the end; a list is a list.
    schedule, workspace: uint8. None: they last for this call, if the operation needs them.
    given_outputs: Of the tensors to be written, those that the caller brought.

    Arrays of int64 that the library wants of int32 are converted first.
    """
    function = library.run_tensors if not key_is_complete else library.run
    missing = len(operation.args) - len(tensors)
    if missing:
        tensors = (*tensors, *(None,) * missing)
    flat = flatten(operation, tensors) if operation.has_lists else tensors
    stream = arrays.fixed_stream
    wants_views = arrays.wants_views
    try:
        if stream is None:
            stream = arrays.stream(_first_array(flat))
        if given_outputs and not arrays.may_write(given_outputs):
            _check_writable(operation, arrays, tensors, workspace)
        if arrays.direct and (wants_views is None or not wants_views(operation, tensors)):
            try:
                if function(key, stream, 0, schedule, workspace, *flat, *scalars) == 0:
                    if given_outputs and arrays.mark_written is not None:
                        arrays.mark_written(given_outputs)
                    return
            except BufferError:
                pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
        _check_writable(operation, arrays, tensors, workspace)
        names = ("schedule", "workspace", *operation.names(tensors))
        where = operation.name
        given = zip((schedule, workspace, *flat), names)
        seen = [arrays.seen(item, name, where) for item, name in given]
        answer = function(key, stream, arrays.bits, *seen, *scalars)
        if answer == INT32_WANTED:
            tensors = narrowed(arrays, operation.args, tensors, where)
            buffers = (schedule, workspace, key_is_complete, given_outputs)
            return run(operation, arrays, key, tensors, scalars, *buffers)
        if answer == BUFFERS_WANTED:
            # An array library that hands its allocator to nobody: its arrays, then.
            if not key_is_complete:
                key = key_of_tensors(operation, key, tensors)
            like = _first_array(flat)
            if schedule is None and library.schedule_bytes(key):
                prepared = [tensor for arg, tensor in zip(operation.args, tensors) if arg.prepares]
                made = Schedule(key, like, operation).update(*prepared)
                seen[0] = arrays.seen(made.buffer, "schedule", where)
            if workspace is None and workspace_elements(key):
                made_workspace = arrays.empty((workspace_elements(key),), "uint8", like)
                seen[1] = arrays.seen(made_workspace, "workspace", where)
            library.run(key, stream, arrays.bits, *seen, *scalars)
    except Exception as error:
        explain_failure(operation, arrays, tensors, scalars, error)
        raise
    if given_outputs and arrays.mark_written is not None:
        arrays.mark_written(given_outputs)


def explain_failure(
    operation: Operation,
    arrays: ArrayLibrary,
    tensors: Sequence[Any],
    scalars: Sequence[Any],
    error: Exception,
) -> None:
    """Raises what says better than `error` why a call failed, if anything does."""
    tensors = (*tensors, *(None,) * (len(operation.args) - len(tensors)))
    check_arrays(arrays, flatten(operation, tensors), operation.names(tensors), operation.name)
    _check_scalars(operation, scalars)
    if isinstance(error, OverflowError):
        raise ValueError(
            f"{operation.name}: a number is an int of more than 64 bits, allowed: less. "
            "Pass a float."
        ) from None


def _check_writable(
    operation: Operation,
    arrays: ArrayLibrary,
    tensors: Sequence[Any],
    workspace: Optional[Array],
) -> None:
    outputs = {arg.name: item for arg, item in zip(operation.args, tensors) if arg.use != "in"}
    for name, array in {**outputs, "workspace": workspace}.items():
        if array is not None:
            arrays.check_writable(array, name, operation.name)


def _check_scalars(operation: Operation, scalars: Sequence[Any]) -> None:
    """Refuses what is no number of a call, for a better message than tvm-ffi's."""
    for name, value in zip(operation.scalars, scalars):
        if not isinstance(value, Real):
            raise TypeError(
                f"{operation.name}: {name} of type {type(value).__name__}, allowed: a number. "
                "Pass a float."
            )
        try:
            float(value)
        except OverflowError:
            raise ValueError(
                f"{operation.name}: {name} is beyond float64, allowed: a finite number. "
                "Correct its value."
            ) from None


def _first_array(flat: Sequence[Any]) -> Any:
    return next(item for item in flat if hasattr(item, "shape"))
