"""JAX's arrays."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import jax.numpy as jnp
import numpy

from seesaw._adapters.numpy import NumPy
from seesaw._arrays import CPU, CUDA, Array, ArrayLibrary, always
from seesaw._library import CURRENT_STREAM


class Jax(ArrayLibrary):
    """JAX arrays cannot be written: `seesaw.jax` returns new ones. Here they are described only."""

    name = "jax"
    direct = False
    bits = 1
    fixed_stream = CURRENT_STREAM

    def __init__(self) -> None:
        self._numpy = NumPy()
        self.traces_calls = always

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        device = next(iter(array.devices()))
        if device.platform == "cpu":
            return (CPU, 0)
        if device.platform in ("gpu", "cuda"):
            return (CUDA, device.local_hardware_id)
        raise TypeError(
            f"seesaw: an array is on {device.platform}, allowed: cpu, gpu. Copy it there."
        )

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        raise TypeError(
            "seesaw: a buffer to be written as a JAX array, allowed: NumPy, PyTorch, CuPy. "
            "JAX arrays are immutable: use seesaw.jax.dense_decode, which schedules by itself."
        )

    def view(self, array: Array, name: str, where: str) -> Any:
        """Of the same shape and dtype, packed, with no memory: also for an array that is being
        traced."""
        dtype = numpy.dtype(array.dtype)
        strides = [dtype.itemsize]
        for extent in reversed(array.shape[1:]):
            strides.insert(0, strides[0] * extent)
        one = numpy.empty(1, dtype)
        shape = tuple(array.shape)
        phantom = numpy.lib.stride_tricks.as_strided(one, shape, strides[: len(shape)])
        return self._numpy.view(phantom, name, where)

    def narrow(self, array: Array) -> Array:
        int32 = jnp.iinfo(jnp.int32)
        return array.clip(int32.min, int32.max).astype(jnp.int32)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        return False

    def why_not_writable(self, array: Array) -> str:
        return "is a JAX array, which is immutable"

    def tracer(self) -> Any:
        from seesaw.jax import _record

        return _record
