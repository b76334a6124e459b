"""An operation's tables as PyTorch's schemas: how tensors and settings are declared, and settings
as parameters of an operator."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from seesaw._fields import Arg, Field, Operation, dtype_name
from seesaw._tables import (
    APPEND,
    DENSE_DECODE,
    GATHER,
    MERGE_STATES,
    OPTIONS,
    SPARSE_DECODE,
    SPARSE_PREFILL,
)

OPERATIONS = (DENSE_DECODE, SPARSE_DECODE, SPARSE_PREFILL, MERGE_STATES, APPEND, GATHER)

_RENAMED = {"kernel": "kernel_name"}


def _settings_of(operation: Operation) -> List[Field]:
    """What a call's tensors do not tell, a format among it, and lists not by their length."""
    counts = [arg.list for arg in operation.args]
    fields = [
        field
        for field in operation.problem
        if (field.source == "-" or field.type == "format") and field.name not in counts
    ]
    return fields + [field for field in OPTIONS if field.type != "device"]


SETTINGS = {operation.name: _settings_of(operation) for operation in OPERATIONS}
"""The fields that are an operator's last parameters, in order."""


def _parameter(field: Field, tensors: Sequence[str] = ()) -> str:
    """A setting as schemas declare it; choices are texts."""
    name = _RENAMED.get(field.name, field.name)
    name = f"{name}_rule" if name in tensors else name
    if not field.choices and field.type != "text":
        return f"int {name}=0"
    return f"bool {name}=False" if True in field.choices else f"str? {name}=None"


def _from_parameter(field: Field, value: Any) -> Any:
    if not field.choices and field.type != "text":
        return value or None  # 0: not given
    named = {str(choice): choice for choice in field.choices}
    return named.get(value, value) if isinstance(value, str) else value


def _to_parameter(field: Field, value: Any) -> Any:
    if not field.choices and field.type != "text":
        return value or 0
    if True in field.choices:
        return bool(value)
    if value is None:
        return None
    return dtype_name(value) if field.type == "format" else str(value)


def settings_from(operation: Operation, parameters: Sequence[Any]) -> Dict[str, Any]:
    """By name; the last parameters may be missing."""
    fields = SETTINGS[operation.name]
    return {field.name: _from_parameter(field, value) for field, value in zip(fields, parameters)}


def parameters_from(operation: Operation, settings: Mapping[str, Any]) -> List[Any]:
    """Of all settings, those that are not given as 0, False or None."""
    fields = SETTINGS[operation.name]
    return [_to_parameter(field, settings.get(field.name)) for field in fields]


def declare(arg: Arg, mark: str = "") -> str:
    """A tensor, or a list of them; `mark`: its letter if it is written."""
    changed = f"({mark}!)" if arg.use != "in" else ""
    return f"Tensor{changed}{'[]' if arg.list else '?' if arg.optional else ''} {arg.name}"


def declare_tensors(operation: Operation) -> str:
    return ", ".join(map(declare, operation.args, "abcdefghijklmnop"))


def declare_settings(operation: Operation) -> str:
    names = [arg.name for arg in operation.args]
    return ", ".join(_parameter(field, names) for field in SETTINGS[operation.name])
