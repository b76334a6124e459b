"""Runs of any operation."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from seesaw._arrays import Array, ArrayLibrary, check_devices
from seesaw._fields import Operation
from seesaw._keys import Key, flatten, key_of_tensors
from seesaw._library import BUFFERS_WANTED, library
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
) -> None:
    """Runs an operation on tensors of one array library.

    key: Of `settings_key`, if the tensors are to tell the rest; or of a schedule, complete.
    tensors, scalars: In the order of the operation's table; None: not given; a list is a list.
    schedule, workspace: uint8. None: they last for this call, if the operation needs them.
    """
    function = library.run if key_is_complete else library.run_tensors
    flat = flatten(operation, tensors) if operation.has_lists else tensors
    stream = arrays.fixed_stream
    if stream is None:
        stream = arrays.stream(_first_array(flat))
    if arrays.direct:
        try:
            if function(key, stream, 0, schedule, workspace, *flat, *scalars) == 0:
                return
        except BufferError:
            pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
        except RuntimeError:
            check_devices(arrays, flat)
            raise
    name = operation.name
    seen = [arrays.seen(item, name) for item in (schedule, workspace, *flat)]
    if function(key, stream, arrays.bits, *seen, *scalars) != BUFFERS_WANTED:
        return
    # An array library that hands its allocator to nobody: its arrays, then.
    if not key_is_complete:
        key = key_of_tensors(operation, key, tensors)
    like = _first_array(flat)
    if schedule is None and library.schedule_bytes(key):
        prepared = [tensor for arg, tensor in zip(operation.args, tensors) if arg.prepares]
        seen[0] = arrays.seen(Schedule(key, like).update(*prepared).buffer, name)
    if workspace is None and workspace_elements(key):
        seen[1] = arrays.seen(arrays.empty((workspace_elements(key),), "uint8", like), name)
    library.run(key, stream, arrays.bits, *seen, *scalars)


def _first_array(flat: Sequence[Any]) -> Any:
    return next(item for item in flat if hasattr(item, "shape"))
