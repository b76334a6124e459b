"""JAX entry, through jax-tvm-ffi: eager or under `jax.jit`, on CPU and GPU.

JAX arrays are immutable, so outputs, schedule and workspace are results of one XLA call; the call
schedules by itself, and may be captured in a CUDA graph.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Dict, NoReturn, Optional, Tuple

import jax
import jax.numpy as jnp

from seesaw._arrays import library_of
from seesaw._decode import D_V
from seesaw._keys import key_of_tensors, settings_key, settings_numbers
from seesaw._library import library
from seesaw._schedule import ROOM_TO_ALIGN
from seesaw._tables import DENSE_DECODE, DenseDecodeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu"}


@cache
def _register(platform: str) -> str:
    """The XLA target of a platform; registered on first use."""
    try:
        import jax_tvm_ffi
    except ImportError as error:
        raise NotImplementedError(
            "dense_decode: JAX arrays need the package jax-tvm-ffi, which is not installed. "
            "Install it: pip install jax-tvm-ffi."
        ) from error
    attributes = [*DENSE_DECODE.scalars, *settings_numbers(DENSE_DECODE)]
    jax_tvm_ffi.register_ffi_target(
        "seesaw.dense_decode",
        library.module.run_attributes,
        ["attrs.operation", "args", "rets", *(f"attrs.{name}" for name in attributes)],
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


def dense_decode(
    q: jax.Array,
    kv_cache: jax.Array,
    block_table: jax.Array,
    seq_lens: jax.Array,
    *,
    scale: float,
    d_v: int = D_V,
    **settings: Unpack[DenseDecodeSettings],
) -> Tuple[jax.Array, jax.Array]:
    """`seesaw.dense_decode` on JAX arrays, also inside `jax.jit`. Returns (out, lse).

    scale: A Python number: it is part of the compiled call, as the settings are.
    settings: As of `seesaw.dense_decode`.
    """
    platform, device = _platform_of(q)
    library_of(q, "q")
    tensors = (q, kv_cache, block_table, seq_lens)
    base = settings_key(DENSE_DECODE, device=device, d_v=d_v, **settings)
    key = key_of_tensors(DENSE_DECODE, base, tensors)
    b, s_q, h_q, _ = q.shape
    results = (
        jax.ShapeDtypeStruct((b, s_q, h_q, d_v), q.dtype),
        jax.ShapeDtypeStruct((b, h_q, s_q), jnp.float32),
        # The schedule and the workspace.
        jax.ShapeDtypeStruct((library.both_bytes(key) + ROOM_TO_ALIGN,), jnp.uint8),
    )
    call = jax.ffi.ffi_call(_register(platform), results, vmap_method="sequential")
    numbers = settings_numbers(DENSE_DECODE, d_v=d_v, **settings)
    attributes: Dict[str, Any] = {
        name: "" if value is None else value for name, value in numbers.items()
    }
    out, lse, _ = call(
        *tensors,
        operation=DENSE_DECODE.index,
        scale=_number(scale),
        **attributes,
    )
    return out, lse


def _number(scale: Any) -> float:
    try:
        return float(scale)
    except Exception as error:  # JAX's own, of an array that is being traced, among them
        raise TypeError(
            f"dense_decode: scale of type {type(scale).__name__}, allowed: a Python number. "
            "Pass a float: it is part of the compiled call."
        ) from error


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
) -> Tuple[jax.Array, jax.Array]:
    """`seesaw.dense_decode` for JAX arrays."""
    if any(buffer is not None for buffer in buffers):
        raise TypeError(
            "dense_decode: schedule, out, lse or workspace given with JAX arrays, allowed: none "
            "of them, as JAX arrays are immutable. Leave them out."
        )
    return dense_decode(
        q,
        kv_cache,
        block_table,
        seq_lens,
        scale=scale,
        d_v=D_V if d_v is None else d_v,
        **settings,  # type: ignore[arg-type]
    )
