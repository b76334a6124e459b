"""JAX entry, through jax-tvm-ffi: eager or under `jax.jit`, on CPU and GPU.

JAX arrays are immutable, so outputs, schedule and workspace are results of one XLA call; the call
schedules by itself, and may be captured in a CUDA graph.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Callable, Dict, Optional, Tuple

import jax
import jax.numpy as jnp

from seesaw._library import CURRENT_STREAM, MAKE_SCHEDULE, library
from seesaw._problem import FIELD_D_V, Fields, Problem
from seesaw._schedule import planned

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu"}


@cache
def _register(platform: str) -> str:
    """The XLA target of a platform; registered on first use."""
    try:
        import jax_tvm_ffi
    except ImportError as error:
        raise NotImplementedError(
            "dense_decode: JAX arrays without jax-tvm-ffi, allowed: with it. "
            "Install it: pip install jax-tvm-ffi."
        ) from error
    count = len(Problem(batch=1, h_q=1, max_pages_per_sequence=1).to_fields())
    arguments = ["args", "rets", "attrs.scale", "attrs.stream", "attrs.call_flags"]
    jax_tvm_ffi.register_ffi_target(
        "seesaw.dense_decode",
        library.module.run,
        [*arguments, *(f"attrs.field_{i:02}" for i in range(count))],
        platform=platform,
        allow_cuda_graph=True,
    )
    return "seesaw.dense_decode"


def _platform_of(q: jax.Array) -> Tuple[str, str]:
    """(XLA's platform, seesaw's device) of an array; of JAX's default device while tracing."""
    if isinstance(q, jax.core.Tracer):
        device = jax.config.jax_default_device or jax.local_devices()[0]
    else:
        device = next(iter(q.devices()))
    platform = _PLATFORMS.get(getattr(device, "platform", str(device)))
    if platform is None:
        raise TypeError(f"dense_decode: an array is on {device}, allowed: cpu, gpu. Copy it there.")
    index = getattr(device, "local_hardware_id", 0) or 0
    return platform, "cpu" if platform == "cpu" else f"cuda:{index}"


def _make_call(platform: str, fields: Fields, dtype: Any, b: int, scale: float) -> Callable:
    _, schedule_elements, workspace_elements = planned(fields)
    _, s_q, h_q, *_ = fields[4:]
    results = (
        jax.ShapeDtypeStruct((b, s_q, h_q, fields[FIELD_D_V]), dtype),
        jax.ShapeDtypeStruct((b, h_q, s_q), jnp.float32),
        jax.ShapeDtypeStruct((schedule_elements,), jnp.uint8),
        jax.ShapeDtypeStruct((max(workspace_elements, 1),), jnp.uint8),
    )
    call = jax.ffi.ffi_call(_register(platform), results, vmap_method="sequential")
    attributes: Dict[str, Any] = {f"field_{i:02}": field for i, field in enumerate(fields)}

    def run(*arrays: jax.Array) -> Tuple[jax.Array, jax.Array]:
        out, lse, _, _ = call(
            *arrays,
            scale=float(scale),
            stream=CURRENT_STREAM,
            call_flags=MAKE_SCHEDULE,
            **attributes,
        )
        return out, lse

    return run


def dense_decode(
    q: jax.Array,
    kv_cache: jax.Array,
    block_table: jax.Array,
    seq_lens: jax.Array,
    *,
    scale: Optional[float] = None,
    d_v: int = 512,
    **options: Any,
) -> Tuple[jax.Array, jax.Array]:
    """`seesaw.dense_decode` on JAX arrays, also inside `jax.jit`. Returns (out, lse).

    scale: A Python number: it is part of the compiled call.
    options: The attributes of `Problem` from `causal` on.
    """
    import numpy

    platform, device = _platform_of(q)
    for name, array, rank in (("q", q, 4), ("block_table", block_table, 2)):
        if array.ndim != rank:
            raise ValueError(
                f"dense_decode: {name} has rank {array.ndim}, allowed: {rank}. Reshape the array."
            )
    if kv_cache.ndim == 3:
        kv_cache = kv_cache[:, :, None, :]
    b, s_q, h_q, d_qk = q.shape
    _, page_size, h_kv, _ = kv_cache.shape
    fields = Problem(
        batch=max(b, 1),
        h_q=h_q,
        max_pages_per_sequence=block_table.shape[1],
        s_q=s_q,
        h_kv=h_kv,
        d_qk=d_qk,
        d_v=d_v,
        page_size=page_size,
        dtype=numpy.dtype(q.dtype).name,
        kv_dtype=numpy.dtype(kv_cache.dtype).name,
        device=device,
        kv_page_stride=page_size * h_kv * d_qk,
        kv_token_stride=h_kv * d_qk,
        kv_head_stride=d_qk,
        **options,
    ).to_fields()
    call = _make_call(platform, fields, q.dtype, b, d_qk**-0.5 if scale is None else scale)
    return call(q, kv_cache, block_table, seq_lens)


def record(
    q: jax.Array,
    kv_cache: jax.Array,
    block_table: jax.Array,
    seq_lens: jax.Array,
    buffers: Tuple[Any, ...],
    scale: Optional[float],
    d_v: Optional[int],
    options: Tuple[Any, ...],
) -> Tuple[jax.Array, jax.Array]:
    """`seesaw.dense_decode` for JAX arrays."""
    from seesaw._decode import OPTION_NAMES

    if any(buffer is not None for buffer in buffers):
        raise TypeError(
            "dense_decode: schedule, out, lse or workspace given with JAX arrays, allowed: none "
            "of them, as JAX arrays are immutable. Leave them out."
        )
    given = {name: value for name, value in zip(OPTION_NAMES, options) if value is not None}
    return dense_decode(
        q, kv_cache, block_table, seq_lens, scale=scale, d_v=512 if d_v is None else d_v, **given
    )
