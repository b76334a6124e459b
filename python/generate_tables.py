#!/usr/bin/env python3
"""Writes seesaw/_tables.py: what libseesaw says of itself (seesaw_describe) as typed Python.

    generate_tables.py libseesaw.so OUTPUT

Run by the build, so that the package knows problems, options, tensors, dtypes and statuses from the
library that it brings, and an editor sees their names. Needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import json
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List

WIDTH = 100
HEAD = '''"""Made by the build (python/generate_tables.py) from what libseesaw says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Dict, Literal, Optional, Tuple, Type, TypedDict

from seesaw._fields import Arg, Field, Operation, OptionsBase, ProblemBase
from seesaw._formats import CacheFormat
'''


def describe(path: str) -> Dict[str, Any]:
    """The library's own description."""
    library = ctypes.CDLL(path)
    needed = ctypes.c_uint64()
    library.seesaw_describe(None, ctypes.c_uint64(0), ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(needed.value)
    if library.seesaw_describe(buffer, needed, ctypes.byref(needed)) != 0:
        raise RuntimeError(f"generate_tables: {path} does not describe itself")
    return json.loads(buffer.value)


def python_value(name: str) -> Any:
    """A choice as Python says it."""
    if name in ("no", "yes"):
        return name == "yes"
    return int(name) if name.isdigit() else name


def choices_of(field: Dict[str, Any]) -> Dict[Any, int]:
    return {python_value(name): value for name, value in field.get("choices", {}).items()}


def default_of(field: Dict[str, Any]) -> Any:
    """None: text that is not given, or a format that follows another field."""
    choices = choices_of(field)
    if field["type"] in ("text", "device"):
        return None
    if choices:
        return next((name for name, value in choices.items() if value == field["default"]), None)
    return field["default"]


def is_required(field: Dict[str, Any]) -> bool:
    return not field["default"] and field.get("least", 0) > 0


def type_of(field: Dict[str, Any]) -> str:
    choices = choices_of(field)
    if field["type"] in ("text", "device"):
        return "Optional[str]" if field["type"] == "text" else "str"
    if not choices:
        return "int"
    if True in choices:
        return "bool"
    literal = f"Literal[{', '.join(map(quoted, choices))}]"
    return literal if default_of(field) is not None else f"Optional[{literal}]"


def optional(type_text: str) -> str:
    return type_text if type_text.startswith("Optional") else f"Optional[{type_text}]"


def quoted(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {v}" for k, v in value.items()) + "}"
    return quoted(value)


def row(cls: str, **values: Any) -> str:
    text = f"{cls}({', '.join(f'{name}={literal(value)}' for name, value in values.items())}),"
    return f"    {text}"


def field_row(field: Dict[str, Any]) -> str:
    return row(
        "Field",
        name=field["name"],
        type=field["type"],
        least=field.get("least", 0),
        most=field.get("most", 0),
        default=default_of(field),
        choices=choices_of(field),
        source=field["from"],
    )


def arg_row(arg: Dict[str, Any]) -> str:
    names = ("name", "shape", "dtype", "use", "optional", "prepares", "list")
    return row("Arg", **{name: arg[name] for name in names})


def format_row(cache_format: Dict[str, Any]) -> str:
    names = ("name", "help", "d_latent", "d_rope", "row_bytes", "tail_bytes", "page_alignment")
    scales = {
        "scales": cache_format["scales"]["count"],
        "scaled_columns": cache_format["scaled_columns"],
        "scale_group": cache_format["scale_group"],
        "tensor_scale": cache_format["tensor_scale"],
    }
    return row("CacheFormat", **{name: cache_format[name] for name in names}, **scales)


def table(name: str, rows: List[str]) -> List[str]:
    return [f"{name} = (", *rows, ")"] if rows else [f"{name} = ()"]


def attributes(fields: List[Dict[str, Any]]) -> List[str]:
    lines = ["", "    Attributes:"]
    for field in fields:
        text = f"{field['name']}: {field['help'][0].upper()}{field['help'][1:]}."
        lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12)
    return lines


def dataclass_of(
    name: str, base: str, help_text: str, fields: List[Dict[str, Any]], first: str = ""
) -> List[str]:
    lines = ["@dataclass(frozen=True)", f"class {name}({base}):"]
    lines += textwrap.wrap(
        f'"""{help_text}', WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4
    )
    lines += [*attributes(fields), '    """', ""]
    if first:
        lines.append(first)
    for field in sorted(fields, key=lambda field: not is_required(field)):
        default = '"cpu"' if field["type"] == "device" else quoted(default_of(field))
        value = "" if is_required(field) else f" = {default}"
        lines.append(f"    {field['name']}: {type_of(field)}{value}")
    return lines


def typed_dict(name: str, help_text: str, fields: List[Dict[str, Any]]) -> List[str]:
    return [
        f"class {name}(TypedDict, total=False):",
        f'    """{help_text}"""',
        "",
        *[f"    {field['name']}: {optional(type_of(field))}" for field in fields],
    ]


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def operation_block(index: int, operation: Dict[str, Any], options: List[Dict[str, Any]]) -> str:
    name, upper = operation["name"], operation["name"].upper()
    untold = [
        field
        for field in operation["problem"]
        if field["from"] == "-" or field["type"] == "format"  # a byte has many meanings
    ]
    settings = untold + [field for field in options if field["type"] != "device"]
    scalars = [scalar["name"] for scalar in operation["scalars"]]
    lines = [
        *table(f"_{upper}_PROBLEM", [field_row(field) for field in operation["problem"]]),
        *table(f"_{upper}_ARGS", [arg_row(arg) for arg in operation["args"]]),
        f'{upper} = Operation({index}, "{name}", _{upper}_PROBLEM, _{upper}_ARGS, '
        f"({''.join(quoted(scalar) + ', ' for scalar in scalars).rstrip()}))",
        "",
        "",
        *dataclass_of(
            f"{camel(name)}Problem",
            "ProblemBase",
            f"What `{name}` is asked before any data: {operation['help']}.",
            operation["problem"],
            f"    operation: ClassVar[Operation] = {upper}",
        ),
        "",
        "",
        *typed_dict(
            f"{camel(name)}Settings",
            "Keyword arguments of a call: what its tensors do not tell, and how it is run.",
            settings,
        ),
    ]
    return "\n".join(lines)


def generate(description: Dict[str, Any]) -> str:
    """The module's text."""
    statuses = {
        name.replace("SEESAW_", "").lower(): value
        for name, value in sorted(description["statuses"].items(), key=lambda item: item[1])
    }
    options = description["options"]
    operations = description["operations"]
    problems = [f'    "{o["name"]}": {camel(o["name"])}Problem,' for o in operations]
    blocks = [
        HEAD.rstrip("\n"),
        "\n".join(
            [
                f"DTYPES: Dict[str, int] = {literal(description['dtypes'])}",
                f"DEVICES: Dict[str, int] = {literal(description['devices'])}",
                f"STATUSES: Dict[str, int] = {literal(statuses)}",
                *table(
                    "FORMATS: Tuple[CacheFormat, ...]",
                    [format_row(cache_format) for cache_format in description["formats"]],
                ),
                *table("OPTIONS: Tuple[Field, ...]", [field_row(field) for field in options]),
            ]
        ),
        "\n".join(
            dataclass_of(
                "Options",
                "OptionsBase",
                "Where and how a problem is run: what does not change what is computed.",
                options,
                "    fields: ClassVar[Tuple[Field, ...]] = OPTIONS",
            )
        ),
        "\n".join(typed_dict("OptionSettings", "Keyword arguments that make `Options`.", options)),
        *[operation_block(i, operation, options) for i, operation in enumerate(operations)],
        "\n".join(["PROBLEMS: Dict[str, Type[ProblemBase]] = {", *problems, "}"]),
    ]
    return "\n\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(generate(describe(sys.argv[1])))
