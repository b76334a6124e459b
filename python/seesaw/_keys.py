"""Keys: a problem with its options as bytes that the native module makes and takes back.

A key names a plan without holding one: the native module keeps plans by key, and makes a plan that
gave way again. What stands in a key is the module's own business.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, Sequence, Tuple

from seesaw._arrays import Array, library_of
from seesaw._fields import Operation, ProblemBase, from_number, parse_device, to_number
from seesaw._library import library
from seesaw._tables import DEVICES, OPTIONS, PROBLEMS, Options

Key = bytes


def key_of_problem(problem: ProblemBase, options: Options) -> Key:
    return library.key_of_problem(
        problem.operation.index,
        *parse_device(options.device),
        *problem.to_numbers(),
        *options.to_numbers(),
    )


@lru_cache(maxsize=64)
def settings_key(operation: Operation, **settings: Any) -> Key:
    """The key of what is given, fields of the problem and options; tensors are to tell the rest.
    None: not given."""
    given = {name: value for name, value in settings.items() if value is not None}
    device = parse_device(given.pop("device")) if "device" in given else (0, 0)
    numbers = [_pop(operation.name, field, given) for field in operation.problem]
    options = [_pop(operation.name, field, given) for field in OPTIONS if field.type != "device"]
    for name in given:
        raise TypeError(f"{operation.name}() got an unexpected keyword argument {name!r}")
    return library.key_of_problem(operation.index, *device, *numbers, *options)


def settings_numbers(operation: Operation, **settings: Any) -> Dict[str, Any]:
    """What is given, as the library reads it; 0 or None where nothing is."""
    given = {name: value for name, value in settings.items() if value is not None}
    fields = [*operation.problem, *[field for field in OPTIONS if field.type != "device"]]
    return {field.name: _pop(operation.name, field, given) for field in fields}


def _pop(where: str, field: Any, given: Dict[str, Any]) -> Any:
    if field.name in given:
        return to_number(where, field, given.pop(field.name))
    return None if field.type == "text" else 0


def key_of_tensors(operation: Operation, key: Key, tensors: Sequence[Any]) -> Key:
    """The key of these tensors' problem, in what `key` does not give. None: not given."""
    flat: list = []
    first = None
    for arg, tensor in zip(operation.args, tensors):
        if arg.list:
            flat.append(len(tensor))
            flat += tensor
            first = tensor[0] if first is None and len(tensor) else first
        else:
            flat.append(tensor)
            first = tensor if first is None else first
    missing = len(operation.args) - len(tensors)
    flat += [0 if arg.list else None for arg in operation.args[len(operation.args) - missing :]]
    arrays = library_of(first, operation.args[0].name, operation.name)
    if arrays.direct:
        try:
            return library.key_of_tensors(key, 0, *flat)
        except BufferError:
            pass
    return library.key_of_tensors(
        key, arrays.bits, *[arrays.seen(item, operation.name) for item in flat]
    )


def read_key(key: Key) -> Tuple[ProblemBase, Options]:
    """What stands in a key. For questions: it goes through JSON."""
    found = library.query("problem_of_key", key)
    problem_class = PROBLEMS[found["operation"]]
    problem = problem_class(
        **{
            field.name: from_number(field, found["problem"][field.name])
            for field in problem_class.operation.problem
        }
    )
    options = dict(found["options"])
    device_type, index = options.pop("device")
    kind = next((name for name, code in DEVICES.items() if code == device_type), "cpu")
    named = {field.name: field for field in OPTIONS}
    given = {name: from_number(named[name], value) for name, value in options.items()}
    return problem, Options(device=kind if kind == "cpu" else f"{kind}:{index}", **given)
