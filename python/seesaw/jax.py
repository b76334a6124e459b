"""JAX entry, through jax-tvm-ffi: eager or under `jax.jit`, on CPU and GPU.

JAX arrays are immutable, so outputs, schedule and workspace are results of one XLA call, and what
is changed in place is an input and a result of it; the call schedules by itself, and may be
captured in a CUDA graph.
"""

from __future__ import annotations

from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
)

import jax
import jax.numpy as jnp

from seesaw._append import read_scales
from seesaw._arrays import library_of, narrowed, one_number, refuse_other_library
from seesaw._decode import D_V, NOTHING, Besides, refuse_unknown_s_q, shapes_of
from seesaw._fields import Operation
from seesaw._keys import key_of_tensors, settings_key, settings_numbers
from seesaw._library import library
from seesaw._schedule import ROOM_TO_ALIGN
from seesaw._sparse import Asked, sparse_shapes
from seesaw._tables import APPEND, DENSE_DECODE, GATHER, DenseDecodeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

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


def _run(
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
    scalars: By name, of `_number`.
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


def _of(operation: Operation, named: Dict[str, Any]) -> List[Any]:
    """In the order of the operation's table."""
    return [named.get(arg.name) for arg in operation.args]


def _like(array: Optional[jax.Array]) -> Any:
    return None if array is None else jax.ShapeDtypeStruct(array.shape, array.dtype)


def dense_decode(
    q: jax.Array,
    kv_cache: jax.Array,
    block_table: jax.Array,
    seq_lens: jax.Array,
    *,
    scale: Any,
    d_v: int = D_V,
    q_rotary: Optional[jax.Array] = None,
    kv_scale: Optional[jax.Array] = None,
    tree_mask: Optional[jax.Array] = None,
    sinks: Optional[jax.Array] = None,
    soft_cap: Optional[float] = None,
    return_max_logits: bool = False,
    cu_seqlens_q: Optional[jax.Array] = None,
    s_q: Optional[int] = None,
    **settings: Unpack[DenseDecodeSettings],
) -> Tuple[jax.Array, ...]:
    """`seesaw.dense_decode` on JAX arrays, also inside `jax.jit`. Returns (out, lse), or (out, lse,
    max_logits).

    scale: A Python number, or on a CPU an array of one, traced too. soft_cap: A Python number, part
        of the compiled call, as the settings are.
    kv_scale, ..., settings: As of `seesaw.dense_decode`.
    """
    library_of(q, "q")
    tensors = {
        "q": q,
        "kv_cache": kv_cache,
        "block_table": block_table,
        "seq_lens": seq_lens,
        "kv_scale": one_number(kv_scale),
        "q_rotary": q_rotary,
        "tree_mask": tree_mask,
        "sinks": sinks,
        "cu_seqlens_q": cu_seqlens_q,
    }
    if cu_seqlens_q is not None and s_q is None:
        refuse_unknown_s_q()
    rows, numbers = shapes_of(q, cu_seqlens_q is not None)
    results = {
        "out": jax.ShapeDtypeStruct((*rows, d_v), q.dtype),
        "lse": jax.ShapeDtypeStruct(numbers, jnp.float32),
    }
    if return_max_logits:
        results["max_logits"] = results["lse"]
    # What tensors do not tell where a plan is made without its outputs.
    told = {**Besides(soft_cap=soft_cap, s_q=s_q).told(), "max_logits": return_max_logits}
    made = _run(
        DENSE_DECODE,
        _of(DENSE_DECODE, tensors),
        _of(DENSE_DECODE, results),
        {"d_v": d_v, **told, **settings},
        {"scale": _number(scale), "soft_cap": 0.0 if soft_cap is None else _fixed(soft_cap)},
    )
    return tuple(made)


class Appended(NamedTuple):
    """What `append` returns; None: not given."""

    kv_cache: jax.Array
    q_rope: Optional[jax.Array]
    saturated: Optional[jax.Array]


def append(
    c_kv: jax.Array,
    k_rope: Optional[jax.Array],
    slot_mapping: jax.Array,
    kv_cache: jax.Array,
    *,
    scales: Any = "power_of_two",
    positions: Optional[jax.Array] = None,
    cos_sin: Optional[jax.Array] = None,
    q_rope: Optional[jax.Array] = None,
    kv_scale: Optional[jax.Array] = None,
    saturated: Optional[jax.Array] = None,
    **settings: Any,
) -> Appended:
    """`seesaw.append` on JAX arrays, also inside `jax.jit`: what it would write to is returned.

    XLA copies the cache first, unless it is donated to the compiled function (`donate_argnums`):
    then it is written in place. slot_mapping and positions are int64, for which JAX wants
    `jax_enable_x64`. settings: kv_format, rotary, ... as of `seesaw.append`.
    """
    rule, given_scales = read_scales(scales)
    tensors = {
        "c_kv": c_kv,
        "k_rope": k_rope,
        "slot_mapping": slot_mapping,
        "kv_cache": kv_cache,
        "kv_scale": one_number(kv_scale),
        "scales": given_scales,
        "positions": positions,
        "cos_sin": cos_sin,
        "q_rope": q_rope,
        "saturated": one_number(saturated),
    }
    more = {} if k_rope is not None else {"d_rope": -1}
    return _append(_of(APPEND, tensors), {"scales": rule, **more, **settings})


def _append(tensors: List[Any], settings: Dict[str, Any]) -> Appended:
    results = [_like(t) if arg.use != "in" else None for arg, t in zip(APPEND.args, tensors)]
    made = iter(_run(APPEND, tensors, results, settings, {}))
    written = {
        arg.name: next(made) for arg, result in zip(APPEND.args, results) if result is not None
    }
    return Appended(written["kv_cache"], written.get("q_rope"), written.get("saturated"))


def _number(scale: Any, where: str = "dense_decode") -> Any:
    """A float; of an array that is being traced [1] float32, which the call reads when it runs."""
    if not isinstance(scale, jax.core.Tracer):
        return _fixed(scale, where, "scale")
    if scale.size != 1 or not jnp.can_cast(scale.dtype, jnp.float64):
        raise TypeError(
            f"{where}: scale of shape {scale.shape} and dtype {scale.dtype}, allowed: one real "
            "number. Pass a float, or an array of one."
        )
    return scale.astype(jnp.float32).reshape(1)


def _fixed(number: Any, where: str = "dense_decode", name: str = "soft_cap") -> float:
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


def record_merge(tensors: Any, settings: Dict[str, Any]) -> NoReturn:
    raise TypeError(
        "merge_states: JAX arrays, allowed: those of NumPy, PyTorch, CuPy, as JAX arrays cannot be "
        "written. Convert them."
    )


def record(
    q: jax.Array,
    kv_cache: jax.Array,
    block_table: jax.Array,
    seq_lens: jax.Array,
    buffers: Tuple[Any, ...],
    scale: float,
    d_v: Optional[int],
    settings: Dict[str, Any],
    kv_scale: Optional[jax.Array] = None,
    besides: Besides = NOTHING,
    wants_max_logits: bool = False,
) -> Tuple[jax.Array, ...]:
    """`seesaw.dense_decode` for JAX arrays."""
    if any(buffer is not None for buffer in (*buffers, besides.max_logits)):
        raise TypeError(
            "dense_decode: schedule, out, lse, max_logits or workspace given with JAX arrays, "
            "allowed: none of them, as JAX arrays are immutable. Leave them out."
        )
    return dense_decode(
        q,
        kv_cache,
        block_table,
        seq_lens,
        scale=scale,
        d_v=D_V if d_v is None else d_v,
        q_rotary=besides.q_rotary,
        kv_scale=kv_scale,
        tree_mask=besides.tree_mask,
        sinks=besides.sinks,
        soft_cap=besides.soft_cap,
        return_max_logits=wants_max_logits,
        cu_seqlens_q=besides.cu_seqlens_q,
        s_q=besides.s_q,
        **settings,  # type: ignore[arg-type]
    )


def record_sparse(
    operation: Operation,
    named: Dict[str, Any],
    wants: Sequence[str],
    d_v: int,
    asked: Asked,
    settings: Mapping[str, Any],
) -> Tuple[jax.Array, ...]:
    """`seesaw.sparse_decode` and `sparse_prefill` for JAX arrays."""
    outputs = [named[arg.name] for arg in operation.args if arg.use != "in"]
    if any(given is not None for given in (*outputs, asked.schedule, asked.workspace)):
        raise TypeError(
            f"{operation.name}: schedule, out, lse, max_logits or workspace given with JAX arrays, "
            "allowed: none of them, as JAX arrays are immutable. Leave them out."
        )
    out_shape, numbers = sparse_shapes(operation, named["q"], d_v)
    shapes = {name: jax.ShapeDtypeStruct(numbers, jnp.float32) for name in wants[1:]}
    results = {"out": jax.ShapeDtypeStruct(out_shape, named["q"].dtype), **shapes}
    made = _run(
        operation,
        _of(operation, named),
        _of(operation, results),
        {"d_v": d_v, **settings},
        {"scale": _number(asked.scale, operation.name)},
    )
    return tuple(made)


def record_append(tensors: Sequence[Any], settings: Dict[str, Any]) -> jax.Array:
    """`seesaw.append` for JAX arrays: the new cache."""
    named = {arg.name: tensor for arg, tensor in zip(APPEND.args, tensors)}
    if named["q_rope"] is not None or named["saturated"] is not None:
        raise TypeError(
            "append: q_rope or saturated as JAX arrays, allowed: neither, as JAX arrays are "
            "immutable and the cache alone is returned. Call seesaw.jax.append, which returns all "
            "three."
        )
    more = {} if named["k_rope"] is not None else {"d_rope": -1}
    return _append(list(tensors), {**settings, **more}).kv_cache


def record_gather(
    tensors: Sequence[Any], settings: Dict[str, Any], out: Tuple[Tuple[int, int], str]
) -> jax.Array:
    """`seesaw.gather` for JAX arrays. `out`: its shape, and its dtype's name or "like"."""
    named = {arg.name: tensor for arg, tensor in zip(GATHER.args, tensors)}
    (rows, columns), name = out
    dtype = named["kv_cache"].dtype if name == "like" else jnp.dtype(name)
    results = {"out": jax.ShapeDtypeStruct((rows, columns), dtype)}
    told = {"rows": max(rows, 1), "out_dtype": dtype.name}
    (made,) = _run(GATHER, _of(GATHER, named), _of(GATHER, results), {**told, **settings}, {})
    return made
