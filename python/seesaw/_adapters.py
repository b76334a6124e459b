"""The array libraries, one class each."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple, Type

from seesaw._arrays import CPU, CUDA, Array, ArrayLibrary
from seesaw._fields import Operation
from seesaw._library import CURRENT_STREAM, import_tvm_ffi, library, load_torch_support

_BYTES = ("float8_e4m3fn", "int8")
"""Dtypes, beside uint8, of caches whose format says what their bytes mean."""


class NumPy(ArrayLibrary):
    name = "numpy"
    direct = True
    bits = 1
    fixed_stream = 0

    def __init__(self) -> None:
        import numpy

        self._numpy = numpy
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
            return self._numpy.empty(shape, ml_dtypes.bfloat16)
        return self._numpy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, name: str, where: str) -> Any:
        if array.dtype.name == "bfloat16":
            # DLPack knows bfloat16 but NumPy does not: its bits travel as uint16.
            array = array.view(self._numpy.uint16)
        elif array.dtype.name in _BYTES:
            array = array.view(self._numpy.uint8)
        elif array.dtype == self._numpy.uint16:
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
        return self._numpy.asarray(_Borrowed(interface, array))

    def narrow(self, array: Array) -> Array:
        int32 = self._numpy.iinfo(self._numpy.int32)
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


class Torch(ArrayLibrary):
    name = "torch"
    direct = True
    fixed_stream = CURRENT_STREAM

    def __init__(self) -> None:
        import torch

        load_torch_support()
        self._torch = torch
        self._names = {
            torch.float32: "float32",
            torch.bfloat16: "bfloat16",
            torch.float16: "float16",
            torch.int32: "int32",
            torch.int64: "int64",
            torch.uint8: "uint8",
        }
        self._dtypes = {name: dtype for dtype, name in self._names.items()}
        self._bytes = (torch.float8_e4m3fn, torch.int8)
        self.traces_calls = _tracing_of(torch)
        self.wants_views = _has_lazy_minus
        self.mark_written = self._increment_version = torch._C._increment_version

    def dtype_name(self, array: Array) -> str:
        return self._names.get(array.dtype) or str(array.dtype).replace("torch.", "")

    def device(self, array: Array) -> Tuple[int, int]:
        device = array.device
        if device.type == "cpu":
            return (CPU, 0)
        if device.type == "cuda":
            return (CUDA, device.index)
        raise TypeError(f"seesaw: an array is on {device}, allowed: cpu, cuda. Copy it there.")

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        # Extents one by one: PyTorch reads a tuple of them more slowly.
        if dtype == "like":
            return like.new_empty(*shape)
        return like.new_empty(*shape, dtype=self._dtypes[dtype])

    def check(self, array: Array, name: str, where: str) -> None:
        if array.layout is not self._torch.strided:
            raise TypeError(
                f"{where}: {name} has layout {array.layout}, allowed: torch.strided. "
                "Call its to_dense()."
            )
        super().check(array, name, where)

    def is_promise(self, item: Any) -> bool:
        return isinstance(item, self._torch.Tensor) and item.is_neg()

    def view(self, array: Array, name: str, where: str) -> Any:
        if array.is_complex():
            raise TypeError(
                f"{where}: {name} has dtype {self.dtype_name(array)}, allowed: float32, bfloat16, "
                "float16, int32. Convert it."
            )
        array = array.detach() if array.requires_grad else array
        if array.dtype in self._bytes:
            array = array.view(self._torch.uint8)
        return array.resolve_neg()

    def narrow(self, array: Array) -> Array:
        int32 = self._torch.iinfo(self._torch.int32)
        return array.clamp(int32.min, int32.max).to(self._torch.int32)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        try:
            for output in outputs:
                if output.requires_grad or output.is_neg():
                    return False
        except AttributeError:  # no tensor
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
        try:
            if q.is_neg() or kv_cache.is_neg():
                return False
            if kv_scale is not None and kv_scale.is_neg():
                return False
            if q_rotary is not None and q_rotary.is_neg():
                return False
            if given_outputs and (
                out.is_neg() or lse.is_neg() or out.requires_grad or lse.requires_grad
            ):
                return False
        except AttributeError:  # no tensor
            return False
        try:
            head = schedule.head or schedule.make_head()
            inputs = (q, kv_cache, block_table, seq_lens)
            done = library.run_scheduled(
                head, workspace, scale, 0.0, *inputs, out, lse, kv_scale, q_rotary
            )
        except BufferError:
            return False
        if given_outputs and done == 0:
            self._increment_version(given_outputs)
        return done == 0

    def why_not_writable(self, array: Array) -> str:
        if array.requires_grad:
            return "requires a gradient, which this operation has not"
        return "is a lazily negated view" if array.is_neg() else ""

    def tracer(self) -> Any:
        from seesaw import torch as operators

        return operators


class TorchSubclass(Torch):
    """Tensors that see operators before they run: FakeTensor, DTensor. What they hold is theirs, so
    calls go through the operators."""

    def __init__(self) -> None:
        super().__init__()
        self.traces_calls = _always


def _always() -> bool:
    return True


def _has_lazy_minus(operation: Operation, tensors: Sequence[Any]) -> bool:
    """Whether the minus sign of an input is yet to be applied (`Tensor.is_neg`)."""
    try:
        for i in operation.float_inputs:
            tensor = tensors[i]
            if operation.has_lists:
                if any(part.is_neg() for part in tensor or () if part is not None):
                    return True
            elif tensor is not None and tensor.is_neg():
                return True
    except AttributeError:
        pass  # no tensor: the call knows
    return False


def _tracing_of(torch: Any) -> Any:
    """A function that says whether an operator is more than its result here: under torch.compile,
    a dispatch mode (make_fx, FakeTensorMode, ...), a transform (vmap, ...) or torch.jit.trace."""
    is_compiling = torch.compiler.is_dynamo_compiling
    num_modes = torch._C._len_torch_dispatch_stack
    transform = torch._C._functorch.maybe_current_level
    jit_trace = torch._C._get_tracing_state

    def traces() -> bool:
        return (
            is_compiling() or num_modes() != 0 or transform() is not None or jit_trace() is not None
        )

    return traces


class CuPy(ArrayLibrary):
    name = "cupy"
    direct = False

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
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
            return self._cupy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, name: str, where: str) -> Any:
        # Without stream=-1, the default stream would wait for the current one: not capturable.
        return self._from_dlpack(array.__dlpack__(stream=-1))

    def narrow(self, array: Array) -> Array:
        int32 = self._cupy.iinfo(self._cupy.int32)
        return array.clip(int32.min, int32.max).astype(int32.dtype)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        return all(type(output) is self._cupy.ndarray for output in outputs)

    def why_not_writable(self, array: Array) -> str:
        return ""

    def stream(self, array: Array) -> int:
        with array.device:
            return self._cupy.cuda.get_current_stream().ptr


class Jax(ArrayLibrary):
    """JAX arrays cannot be written: `seesaw.jax` returns new ones. Here they are described only."""

    name = "jax"
    direct = False
    bits = 1
    fixed_stream = CURRENT_STREAM

    def __init__(self) -> None:
        self._numpy = NumPy()
        self.traces_calls = _always

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
        import numpy

        dtype = numpy.dtype(array.dtype)
        strides = [dtype.itemsize]
        for extent in reversed(array.shape[1:]):
            strides.insert(0, strides[0] * extent)
        one = numpy.empty(1, dtype)
        shape = tuple(array.shape)
        phantom = numpy.lib.stride_tricks.as_strided(one, shape, strides[: len(shape)])
        return self._numpy.view(phantom, name, where)

    def narrow(self, array: Array) -> Array:
        import jax.numpy as jnp

        int32 = jnp.iinfo(jnp.int32)
        return array.clip(int32.min, int32.max).astype(jnp.int32)

    def may_write(self, outputs: Sequence[Array]) -> bool:
        return False

    def why_not_writable(self, array: Array) -> str:
        return "is a JAX array, which is immutable"

    def tracer(self) -> Any:
        from seesaw import jax as entry

        return entry


_BY_MODULE: Dict[str, Type[ArrayLibrary]] = {
    "numpy": NumPy,
    "torch": Torch,
    "cupy": CuPy,
    "jax": Jax,
    "jaxlib": Jax,
}


def adapter_of(array_type: type) -> Optional[Type[ArrayLibrary]]:
    """The class for arrays of a type; None: they are of no library known here."""
    for base in array_type.__mro__:
        adapter = _BY_MODULE.get(base.__module__.partition(".")[0])
        if adapter is Torch and _sees_operators(array_type):
            return TorchSubclass
        if adapter is not None:
            return adapter
    return None


def _sees_operators(tensor_type: type) -> bool:
    import torch

    return tensor_type.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__  # type: ignore
