"""One call of XLA, through jax-tvm-ffi."""

from __future__ import annotations

from functools import cache
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

import jax
import jax.numpy as jnp

from seesaw._arrays import library_of, narrowed, refuse_other_library
from seesaw._fields import Operation
from seesaw._keys import key_of_tensors, settings_key, settings_numbers
from seesaw._library import library
from seesaw._schedule import ROOM_TO_ALIGN

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu"}


@cache
def _register(operation: Operation, platform: str) -> str:
    """The XLA target of an operation on a platform; registered on first use."""
    try:
        import jax_tvm_ffi
    except ImportError as error:
        raise NotImplementedError(
            f"{operation.name}: JAX arrays need the package jax-tvm-ffi, which is not installed. "
            "Install it: pip install jax-tvm-ffi."
        ) from error
    numbers = [f"attrs.number_{name}" for name in operation.scalars]
    settings = numbers + [f"attrs.{name}" for name in settings_numbers(operation)]
    head = [f"attrs.{name}" for name in ("operation", "given", "traced", "aliased")]
    head += ["args", "rets"]
    jax_tvm_ffi.register_ffi_target(
        f"seesaw.{operation.name}",
        library.module.run_attributes,
        head + settings,
        platform=platform,
        allow_cuda_graph=True,
    )
    return f"seesaw.{operation.name}"


def run_in_xla(
    operation: Operation,
    tensors: Sequence[Optional[jax.Array]],
    results: Sequence[Any],
    settings: Dict[str, Any],
    scalars: Dict[str, Any],
) -> List[jax.Array]:
    """One call of XLA.

    tensors: In the order of the operation's table, those that are changed in place among them; None
        for those that are not given and for those that are only written.
    results: As many: shape and dtype of what is written, None for what is only read.
    settings: Fields of the problem that tensors do not tell, and of the options.
    scalars: By name, of `scalar`.
    """
    first = next(tensor for tensor in tensors if tensor is not None)
    platform, device = _platform_of(operation.name, first)
    for arg, tensor in zip(operation.args, tensors):
        if tensor is not None and library_of(tensor, arg.name, operation.name).name != "jax":
            refuse_other_library(library_of(first, ""), tensor, arg.name, operation.name)
    tensors = narrowed(library_of(first, ""), operation.args, tensors, operation.name)
    base = settings_key(operation, device=device, **settings)
    key = key_of_tensors(operation, base, tensors)
    wanted = [result for result in results if result is not None]
    # The schedule and the workspace.
    wanted.append(jax.ShapeDtypeStruct((library.both_bytes(key) + ROOM_TO_ALIGN,), jnp.uint8))
    inputs = [t for t, result in zip(tensors, results) if t is not None and result is None]
    traced = {name: value for name, value in scalars.items() if not isinstance(value, float)}
    if traced and platform != "cpu":
        _refuse_traced(operation.name, *traced)
    inputs += [traced[name] for name in operation.scalars if name in traced]
    changed = [t for t, result in zip(tensors, results) if t is not None and result is not None]
    places = [i for i, result in enumerate(results) if result is not None]
    aliases = {
        len(inputs) + n: places.index(i)
        for n, i in enumerate(i for i in places if tensors[i] is not None)
    }
    call = jax.ffi.ffi_call(
        _register(operation, platform),
        wanted,
        vmap_method="sequential",
        input_output_aliases=aliases,
    )
    numbers = settings_numbers(operation, **settings)
    attributes: Dict[str, Any] = {
        name: "" if value is None else value for name, value in numbers.items()
    }
    there = [t is not None or r is not None for t, r in zip(tensors, results)]
    made = call(
        *inputs,
        *changed,
        operation=operation.index,
        given=sum(1 << i for i, is_there in enumerate(there) if is_there),
        traced=sum(1 << i for i, name in enumerate(operation.scalars) if name in traced),
        aliased=len(changed),
        **{f"number_{n}": 0.0 if n in traced else value for n, value in scalars.items()},
        **attributes,
    )
    return list(made[:-1])


def _platform_of(where: str, array: jax.Array) -> Tuple[str, str]:
    """(XLA's platform, seesaw's device) of an array; of JAX's default device while tracing."""
    if isinstance(array, jax.core.Tracer):
        default = jax.config.jax_default_device  # type: ignore[attr-defined]
        device = default or jax.local_devices()[0]
    else:
        device = next(iter(array.devices()))
    platform = _PLATFORMS.get(getattr(device, "platform", str(device)))
    if platform is None:
        raise TypeError(f"{where}: an array is on {device}, allowed: cpu, gpu. Copy it there.")
    index = getattr(device, "local_hardware_id", 0) or 0
    return platform, "cpu" if platform == "cpu" else f"cuda:{index}"


def in_order(operation: Operation, named: Dict[str, Any]) -> List[Any]:
    """In the order of the operation's table."""
    return [named.get(arg.name) for arg in operation.args]


def scalar(scale: Any, where: str = "dense_decode") -> Any:
    """A float; of an array that is being traced [1] float32, which the call reads when it runs."""
    if not isinstance(scale, jax.core.Tracer):
        return fixed_scalar(scale, where, "scale")
    if scale.size != 1 or not jnp.can_cast(scale.dtype, jnp.float64):
        raise TypeError(
            f"{where}: scale of shape {scale.shape} and dtype {scale.dtype}, allowed: one real "
            "number. Pass a float, or an array of one."
        )
    return scale.astype(jnp.float32).reshape(1)


def fixed_scalar(number: Any, where: str = "dense_decode", name: str = "soft_cap") -> float:
    try:
        return float(number)
    except Exception as error:  # JAX's own, of an array that is being traced, among them
        raise TypeError(
            f"{where}: {name} of type {type(number).__name__}, allowed: a Python number. "
            "Pass a float: it is part of the compiled call."
        ) from error


def _refuse_traced(where: str, name: str) -> NoReturn:
    raise TypeError(
        f"{where}: {name} is traced with arrays on a GPU, allowed: a Python number there, as a "
        "launch's numbers are the host's. Make it static, or multiply the queries by it and pass "
        f"{name}=1.0."
    )
