"""Keys: a problem with its options as bytes that the native module makes and takes back.

A key names a plan without holding one: the native module keeps plans by key, and makes a plan that
gave way again. What stands in a key is the module's own business.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from seesaw._arrays import check_arrays, library_of
from seesaw._fields import (
    Field,
    Operation,
    ProblemBase,
    from_number,
    name_device,
    parse_device,
    to_number,
)
from seesaw._library import library
from seesaw._tables import DEVICES, OPTIONS, PROBLEMS, Options

Key = bytes


def given(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def make_options(settings: Mapping[str, Any]) -> Options:
    return Options(**given(settings))


def key_of_problem(problem: ProblemBase, options: Options) -> Key:
    return library.key_of_problem(
        problem.operation.index,
        *parse_device(options.device),
        *problem.to_numbers(),
        *options.to_numbers(),
    )


def settings_key(operation: Operation, **settings: Any) -> Key:
    """The key of what is given, fields of the problem and options; tensors are to tell the rest.
    None: not given."""
    left = given(settings)
    device = parse_device(left.pop("device")) if "device" in left else (0, 0)
    numbers = [_pop(operation.name, field, left) for field in operation.problem]
    options = [_pop(operation.name, field, left) for field in OPTIONS if field.type != "device"]
    for name in left:
        raise TypeError(f"{operation.name}() got an unexpected keyword argument {name!r}")
    return library.key_of_problem(operation.index, *device, *numbers, *options)


known_settings_key = lru_cache(maxsize=64)(settings_key)
"""The same in less time. TypeError for what cannot be hashed, too: `settings_key` explains it."""


def settings_numbers(operation: Operation, **settings: Any) -> Dict[str, Any]:
    """What is given, as the library reads it; 0 or None where nothing is."""
    left = given(settings)
    fields = [*operation.problem, *[field for field in OPTIONS if field.type != "device"]]
    return {field.name: _pop(operation.name, field, left) for field in fields}


def _pop(where: str, field: Field, left: Dict[str, Any]) -> Any:
    if field.name in left:
        return to_number(where, field, left.pop(field.name))
    return None if field.type == "text" else 0


def flatten(operation: Operation, tensors: Sequence[Any]) -> Sequence[Any]:
    """Tensors as the native module takes them: None for those left out, a list as its length and
    its tensors."""
    if not operation.has_lists and len(tensors) == len(operation.args):
        return tensors
    flat: List[Any] = []
    for i, arg in enumerate(operation.args):
        tensor = tensors[i] if i < len(tensors) else None
        if arg.list:
            flat += [len(tensor or ()), *(tensor or ())]
        else:
            flat.append(tensor)
    return flat


def key_of_tensors(operation: Operation, key: Key, tensors: Sequence[Any]) -> Key:
    """The key of these tensors' problem, in what `key` does not give. None: not given."""
    flat = flatten(operation, tensors)
    first = next((item for item in flat if item is not None and not isinstance(item, int)), None)
    arrays = library_of(first, operation.args[0].name, operation.name)
    names = operation.names([*tensors, *[None] * (len(operation.args) - len(tensors))])
    try:
        if arrays.direct:
            try:
                return library.key_of_tensors(key, 0, *flat)
            except BufferError:
                pass
        seen = [arrays.seen(item, name, operation.name) for item, name in zip(flat, names)]
        return library.key_of_tensors(key, arrays.bits, *seen)
    except Exception:
        check_arrays(arrays, flat, names, operation.name)
        raise


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
    device = name_device(device_type or DEVICES["cpu"], index)
    named = {field.name: field for field in OPTIONS}
    settings = {name: from_number(named[name], value) for name, value in options.items()}
    return problem, Options(device=device, **settings)
