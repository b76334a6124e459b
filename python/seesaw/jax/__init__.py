"""JAX entry, through jax-tvm-ffi: eager or under `jax.jit`, on CPU and GPU.

JAX arrays are immutable, so outputs, schedule and workspace are results of one XLA call, and what
is changed in place is an input and a result of it; the call schedules by itself, and may be
captured in a CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import jax
import jax.numpy as jnp

from seesaw._append import read_scales
from seesaw._arrays import library_of, one_number
from seesaw._decode import D_V, Besides, refuse_unknown_s_q, shapes_of
from seesaw._tables import APPEND, DENSE_DECODE, DenseDecodeSettings
from seesaw.jax._xla import fixed_scalar, in_order, run_in_xla, scalar

if TYPE_CHECKING:
    from typing_extensions import Unpack


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
    """`seesaw.dense_decode` on JAX arrays, also inside `jax.jit`. There is no gradient.

    Args:
        scale: A Python number, or on a CPU an array of one, traced too.
        soft_cap: A Python number, part of the compiled call, as the settings are.
        q, ..., kv_scale, ..., settings: As of `seesaw.dense_decode`.

    Returns:
        (out [b, s_q, h_q, d_v] as q, lse [b, h_q, s_q] float32), and max_logits, as lse, where it
        was asked for; with cu_seqlens_q as of `seesaw.dense_decode`.

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here, or jax-tvm-ffi is not
            installed.
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
    made = run_in_xla(
        DENSE_DECODE,
        in_order(DENSE_DECODE, tensors),
        in_order(DENSE_DECODE, results),
        {"d_v": d_v, **told, **settings},
        {"scale": scalar(scale), "soft_cap": 0.0 if soft_cap is None else fixed_scalar(soft_cap)},
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
    `jax_enable_x64`. Arguments and errors are as of `seesaw.append`, kv_format and rotary among the
    settings.
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
    return append_in_xla(in_order(APPEND, tensors), {"scales": rule, **more, **settings})


def append_in_xla(tensors: List[Any], settings: Dict[str, Any]) -> Appended:
    results = [_like(t) if arg.use != "in" else None for arg, t in zip(APPEND.args, tensors)]
    made = iter(run_in_xla(APPEND, tensors, results, settings, {}))
    written = {
        arg.name: next(made) for arg, result in zip(APPEND.args, results) if result is not None
    }
    return Appended(written["kv_cache"], written.get("q_rope"), written.get("saturated"))


def _like(array: Optional[jax.Array]) -> Any:
    return None if array is None else jax.ShapeDtypeStruct(array.shape, array.dtype)
