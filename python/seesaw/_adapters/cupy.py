"""CuPy's arrays."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import cupy

from seesaw._arrays import CUDA, Array, ArrayLibrary
from seesaw._library import import_tvm_ffi


class CuPy(ArrayLibrary):
    name = "cupy"
    direct = False

    def __init__(self) -> None:
        self._from_dlpack = import_tvm_ffi().from_dlpack

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        return (CUDA, array.device.id)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        if dtype == "bfloat16":
            raise TypeError(
                "seesaw: an array of bfloat16 to be made, allowed: float32, float16, as CuPy has "
                "no bfloat16. Say which dtype."
            )
        with like.device:
            return cupy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, name: str, where: str) -> Any:
        # Without stream=-1, the default stream would wait for the current one: not capturable.
        return self._from_dlpack(array.__dlpack__(stream=-1))

    def narrow(self, array: Array) -> Array:
        int32 = cupy.iinfo(cupy.int32)
        return array.clip(int32.min, int32.max).astype(int32.dtype)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        return all(type(output) is cupy.ndarray for output in outputs)

    def why_not_writable(self, array: Array) -> str:
        return ""

    def stream(self, array: Array) -> int:
        with array.device:
            return cupy.cuda.get_current_stream().ptr
