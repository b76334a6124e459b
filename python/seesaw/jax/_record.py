"""Calls of `seesaw` on JAX arrays."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NoReturn, Optional, Sequence, Tuple

import jax
import jax.numpy as jnp

from seesaw._decode import D_V, NOTHING, Besides
from seesaw._fields import Operation
from seesaw._sparse import Asked, sparse_shapes
from seesaw._tables import APPEND, GATHER
from seesaw.jax import append_in_xla, dense_decode
from seesaw.jax._xla import in_order, run_in_xla, scalar


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
    made = run_in_xla(
        operation,
        in_order(operation, named),
        in_order(operation, results),
        {"d_v": d_v, **settings},
        {"scale": scalar(asked.scale, operation.name)},
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
    return append_in_xla(list(tensors), {**settings, **more}).kv_cache


def record_gather(
    tensors: Sequence[Any], settings: Dict[str, Any], out: Tuple[Tuple[int, int], str]
) -> jax.Array:
    """`seesaw.gather` for JAX arrays. `out`: its shape, and its dtype's name or "like"."""
    named = {arg.name: tensor for arg, tensor in zip(GATHER.args, tensors)}
    (rows, columns), name = out
    dtype = named["kv_cache"].dtype if name == "like" else jnp.dtype(name)
    results = {"out": jax.ShapeDtypeStruct((rows, columns), dtype)}
    told = {"rows": max(rows, 1), "out_dtype": dtype.name, **settings}
    (made,) = run_in_xla(GATHER, in_order(GATHER, named), in_order(GATHER, results), told, {})
    return made
