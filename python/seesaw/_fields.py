"""Fields of problems and options by the library's tables, which `_tables` holds."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from operator import index
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Dict,
    List,
    NamedTuple,
    NoReturn,
    Sequence,
    Tuple,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class Field(NamedTuple):
    """A field of a problem or of the options."""

    name: str
    type: str
    """int64, int32, dtype, format, choice, text or device."""
    least: int
    most: int
    default: Any
    """As Python says it; None: not given."""
    choices: Dict[Any, int]
    """By Python's value; empty: any number or text."""
    source: str
    """Where tensors tell it: "" the dimension of this name, "-" nowhere, or which."""


class Arg(NamedTuple):
    """A tensor of a call."""

    name: str
    shape: str
    dtype: str
    use: str
    optional: bool
    prepares: bool
    list: str
    """The field with the number of tensors; "": it is one tensor."""


@dataclass(frozen=True, eq=False)  # hashed as what it is: one
class Operation:
    index: int
    name: str
    problem: Tuple[Field, ...]
    args: Tuple[Arg, ...]
    scalars: Tuple[str, ...]
    has_lists: bool = dataclass_field(init=False)
    float_inputs: Tuple[int, ...] = dataclass_field(init=False)
    """Rows of args: what is read and holds no int32 or int64."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_lists", any(arg.list for arg in self.args))
        reads = tuple(
            i
            for i, arg in enumerate(self.args)
            if arg.use == "in" and not arg.dtype.startswith("int")
        )
        object.__setattr__(self, "float_inputs", reads)

    def names(self, tensors: Sequence[Any]) -> List[str]:
        """Of what `flatten` makes of these tensors; "" is the length of a list."""
        names: List[str] = []
        for arg, tensor in zip(self.args, tensors):
            names += ["", *[arg.name] * len(tensor or ())] if arg.list else [arg.name]
        return names


def to_number(where: str, field: Field, value: Any) -> Any:
    """The value of a field as the library reads it. A 0 that a caller gives is no default: it is
    refused where it is no value."""
    if field.choices:
        if value is None and field.default is None:
            return 0  # follows another field
        try:
            return field.choices[value]
        except (KeyError, TypeError):
            pass
        if field.type in ("dtype", "format") and dtype_name(value) in field.choices:
            return field.choices[dtype_name(value)]
        _refuse_choice(where, field, value)
    if field.type == "text":
        if value is not None and not isinstance(value, str):
            raise TypeError(
                f"{where}: {field.name} of type {type(value).__name__}, allowed: a string or None. "
                "Pass a str."
            )
        return value or None
    try:
        number = index(value)
    except TypeError:
        raise TypeError(
            f"{where}: {field.name} of type {type(value).__name__}, allowed: an integer. "
            "Pass an int."
        ) from None
    if not field.least <= number <= field.most:
        raise ValueError(
            f"{where}: {field.name} = {number}, allowed: {field.least} to {field.most}. "
            "Correct its value."
        )
    return number


def whole_number(where: str, name: str, value: Any, least: int, most: int) -> int:
    """An argument that is an integer in [least, most]."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(
            f"{where}: {name} of type {type(value).__name__}, allowed: an integer. Pass an int."
        ) from None
    if not least <= number <= most:
        raise ValueError(
            f"{where}: {name} = {number}, allowed: {least} to {most}. Correct its value."
        )
    return number


def dtype_name(dtype: Any) -> str:
    """"bfloat16" of that text, and of a dtype of NumPy, PyTorch, CuPy or JAX."""
    name = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype)
    return str(name).rpartition(".")[2]


def _refuse_choice(where: str, field: Field, value: Any) -> NoReturn:
    allowed = ", ".join(
        f'"{name}"' if isinstance(name, str) else str(name) for name in field.choices
    )
    if field.type == "choice":
        raise ValueError(
            f"{where}: {field.name} = {value!r}, allowed: {allowed}. Choose one of them."
        )
    raise TypeError(
        f"{where}: {field.name} = {value!r}, allowed: {allowed}. Convert the array to one of these."
    )


def from_number(field: Field, number: Any) -> Any:
    """The value of a field as Python says it."""
    for value, code in field.choices.items():
        if code == number:
            return value
    return field.default if number == 0 else number


def _settle(where: str, values: Any, fields: Tuple[Field, ...]) -> None:
    """Checks every field of a frozen dataclass, and keeps it as Python says it: 1 becomes True."""
    for field in fields:
        if field.type == "device":
            device = name_device(*parse_device(getattr(values, field.name)))
            object.__setattr__(values, field.name, device)
            continue
        number = to_number(where, field, getattr(values, field.name))
        value = from_number(field, number) if field.choices else number
        object.__setattr__(values, field.name, value)


class ProblemBase:
    """What every operation's problem has."""

    operation: ClassVar[Operation]

    def __post_init__(self) -> None:
        _settle(self.operation.name, self, self.operation.problem)

    @classmethod
    def of(cls, *tensors: Any, **fields: Any) -> Self:
        """The problem of these arrays, whose shapes, strides and dtypes are read, not their data.

        tensors: In the order of the operation's arguments; the last may be left out, and None
            stands for one that is not there. A list of tensors is a list or tuple.
        fields: Attributes of the problem: what the arrays do not tell, or, as the batch of a
            smaller call, tell less of.

        Raises:
            ValueError, TypeError: An array or a field is malformed. Whether a kernel runs the
                problem, `supports` tells.
        """
        from seesaw._keys import key_of_tensors, read_key, settings_key

        known = {field.name: field for field in cls.operation.problem}
        for name in fields:
            if name not in known:
                raise TypeError(f"{cls.__name__}.of() got an unexpected keyword argument {name!r}")
        key = settings_key(cls.operation, **fields)
        return read_key(key_of_tensors(cls.operation, key, tensors))[0]  # type: ignore[return-value]

    def to_numbers(self) -> Tuple[int, ...]:
        """Every field as the library reads it, in the table's order."""
        return tuple(
            to_number(self.operation.name, field, getattr(self, field.name))
            for field in self.operation.problem
        )


class OptionsBase:
    """What `Options` does with its fields."""

    fields: ClassVar[Tuple[Field, ...]]

    def __post_init__(self) -> None:
        _settle("seesaw", self, self.fields)

    def to_numbers(self) -> Tuple[Any, ...]:
        """Every field but the device, in the table's order."""
        return tuple(
            to_number("seesaw", field, getattr(self, field.name))
            for field in self.fields
            if field.type != "device"
        )


def name_device(device_type: int, index: int) -> str:
    """ "cpu", "cuda:1"."""
    from seesaw._tables import DEVICES

    kind = next(name for name, code in DEVICES.items() if code == device_type)
    return kind if kind == "cpu" else f"{kind}:{index}"


def parse_device(device: Any) -> Tuple[int, int]:
    """(seesaw_device_type, index) of "cpu", "cuda" or "cuda:1"."""
    from seesaw._tables import DEVICES

    kind, _, number = str(device).partition(":")
    if kind in DEVICES and (number == "" or (number.isdecimal() and len(number) < 6)):
        if kind != "cpu" or number in ("", "0"):
            return DEVICES[kind], int(number or 0)
    raise ValueError(
        f'seesaw: device = "{device!s:.80}", allowed: "cpu", "cuda", "cuda:N". Correct the name.'
    )
