"""NumPy's arrays."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

import numpy

from seesaw._arrays import CPU, Array, ArrayLibrary
from seesaw._library import library

_BYTES = ("float8_e4m3fn", "int8")
"""Dtypes, beside uint8, of caches whose format says what their bytes mean."""


class NumPy(ArrayLibrary):
    name = "numpy"
    direct = True
    bits = 1
    fixed_stream = 0

    def __init__(self) -> None:
        self._array_type = numpy.ndarray

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        return (CPU, 0)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        if dtype == "bfloat16" and like.dtype.name != "bfloat16":
            try:
                import ml_dtypes
            except ImportError:
                raise TypeError(
                    "seesaw: an array of bfloat16 to be made, allowed: float32, float16, as NumPy "
                    "has bfloat16 with the package ml_dtypes alone. Say which dtype, or install it."
                ) from None
            return numpy.empty(shape, ml_dtypes.bfloat16)
        return numpy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, name: str, where: str) -> Any:
        if array.dtype.name == "bfloat16":
            # DLPack knows bfloat16 but NumPy does not: its bits travel as uint16.
            array = array.view(numpy.uint16)
        elif array.dtype.name in _BYTES:
            array = array.view(numpy.uint8)
        elif array.dtype == numpy.uint16:
            raise TypeError(
                f"{where}: {name} has dtype uint16, allowed: float32, bfloat16, float16, "
                "int32. If it holds the bits of bfloat16, view it as ml_dtypes.bfloat16."
            )
        elif array.dtype.kind not in "biufc" or not array.dtype.isnative:
            raise TypeError(
                f"{where}: {name} has dtype {array.dtype}, allowed: float32, bfloat16, float16, "
                "int32, int64, uint8, in this machine's byte order. Convert it."
            )
        return array if array.flags.writeable else self._writeable(array)

    def _writeable(self, array: Array) -> Array:
        # DLPack before 1.0 cannot say "read only", so NumPy refuses; inputs are only read.
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        return numpy.asarray(_Borrowed(interface, array))

    def narrow(self, array: Array) -> Array:
        int32 = numpy.iinfo(numpy.int32)
        return array.clip(int32.min, int32.max).astype(int32.dtype)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        array_type = self._array_type
        for output in outputs:
            if type(output) is not array_type:
                return False
        return True

    def decode_at_once(
        self,
        schedule: Any,
        scale: float,
        q: Array,
        kv_cache: Array,
        block_table: Array,
        seq_lens: Array,
        out: Array,
        lse: Array,
        kv_scale: Optional[Array],
        q_rotary: Optional[Array],
        workspace: Optional[Array],
        given_outputs: Tuple[Array, ...],
    ) -> bool:
        array_type = self._array_type
        if type(out) is not array_type or type(lse) is not array_type:
            return False
        try:
            head = schedule.head or schedule.make_head()
            inputs = (q, kv_cache, block_table, seq_lens)
            done = library.run_scheduled(
                head, workspace, scale, 0.0, *inputs, out, lse, kv_scale, q_rotary
            )
        except BufferError:  # read only, bfloat16 of ml_dtypes
            return False
        return done == 0

    def why_not_writable(self, array: Array) -> str:
        return "" if array.flags.writeable else "is read only"


class _Borrowed:
    """Memory of another array under an interface of its own."""

    def __init__(self, interface: Dict[str, Any], owner: Array) -> None:
        self.__array_interface__ = interface
        self.owner = owner
