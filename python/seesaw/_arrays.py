"""What the package has to know of each array library: dtypes, strides, allocation, streams.

One small class a library, found by the array's type; a library is imported only once an array of
its own has been seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from seesaw._fields import name_device
from seesaw._library import CURRENT_STREAM
from seesaw._tables import DEVICES

Array = Any
"""An array of NumPy, PyTorch, CuPy or JAX."""

CPU, CUDA = DEVICES["cpu"], DEVICES["cuda"]


class ArrayLibrary(ABC):
    """One array library."""

    name: str
    direct: bool
    """Whether tvm-ffi takes this library's arrays as they are, or raises BufferError."""
    bits = 0
    """1: views of bfloat16 are of uint16, and others are none."""

    @abstractmethod
    def dtype_name(self, array: Array) -> str:
        """ "bfloat16"."""

    @abstractmethod
    def device(self, array: Array) -> Tuple[int, int]:
        """(seesaw_device_type, index)."""

    def device_name(self, array: Array) -> str:
        """ "cpu", "cuda:1"."""
        return name_device(*self.device(array))

    @abstractmethod
    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        """Uninitialised, on the device of `like`; `dtype` "like" takes that of `like`."""

    @abstractmethod
    def view(self, array: Array, where: str) -> Any:
        """What tvm-ffi takes for this array in any case, without a copy. `where`: the operation
        that messages name."""

    def seen(self, item: Any, where: str) -> Any:
        """The same for what may be None or a number. JAX: of what is not yet there, too."""
        return item if item is None or isinstance(item, int) else self.view(item, where)

    fixed_stream: Optional[int] = None
    """What `stream` returns for every array; None: it depends."""

    def stream(self, array: Array) -> int:
        """The current stream of the array's device, or CURRENT_STREAM if tvm-ffi asks itself."""
        assert self.fixed_stream is not None
        return self.fixed_stream

    traces_calls: Optional[Callable[[], bool]] = None
    """Whether calls are to be recorded by `traced_dense_decode`, not made now. None: never."""

    def traced_dense_decode(self, *arguments: Any) -> Tuple[Array, Array]:
        raise NotImplementedError(f"{self.name} makes its calls at once")


class NumPy(ArrayLibrary):
    name = "numpy"
    direct = True
    bits = 1
    fixed_stream = 0

    def __init__(self) -> None:
        import numpy

        self._numpy = numpy

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        return (CPU, 0)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        return self._numpy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, where: str) -> Any:
        if array.dtype.name == "bfloat16":
            # DLPack knows bfloat16 but NumPy does not: its bits travel as uint16.
            array = array.view(self._numpy.uint16)
        elif array.dtype == self._numpy.uint16:
            raise TypeError(
                f"{where}: an array has dtype uint16, allowed: float32, bfloat16, float16, "
                "int32. If it holds the bits of bfloat16, view it as ml_dtypes.bfloat16."
            )
        return array if array.flags.writeable else self._writeable(array)

    def _writeable(self, array: Array) -> Array:
        # DLPack before 1.0 cannot say "read only", so NumPy refuses; inputs are only read.
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        return self._numpy.asarray(_Borrowed(interface, array))


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

        self._names = {
            torch.float32: "float32",
            torch.bfloat16: "bfloat16",
            torch.float16: "float16",
            torch.int32: "int32",
        }
        self._dtypes = {name: dtype for dtype, name in self._names.items()}
        self._dtypes["uint8"] = torch.uint8
        self.traces_calls = torch.compiler.is_compiling

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

    def view(self, array: Array, where: str) -> Any:
        return array.detach() if array.requires_grad else array

    def traced_dense_decode(self, *arguments: Any) -> Tuple[Array, Array]:
        from seesaw import torch as operators

        return operators.record(*arguments)


class CuPy(ArrayLibrary):
    name = "cupy"
    direct = False

    def __init__(self) -> None:
        import cupy
        import tvm_ffi

        self._cupy = cupy
        self._from_dlpack = tvm_ffi.from_dlpack

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        return (CUDA, array.device.id)

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        with like.device:
            return self._cupy.empty(shape, like.dtype if dtype == "like" else dtype)

    def view(self, array: Array, where: str) -> Any:
        # Without stream=-1, the default stream would wait for the current one: not capturable.
        return self._from_dlpack(array.__dlpack__(stream=-1))

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
        self.traces_calls = lambda: True

    def dtype_name(self, array: Array) -> str:
        return array.dtype.name

    def device(self, array: Array) -> Tuple[int, int]:
        device = next(iter(array.devices()))
        if device.platform == "cpu":
            return (CPU, 0)
        if device.platform in ("gpu", "cuda"):
            return (CUDA, device.local_hardware_id)
        raise TypeError(
            f"dense_decode: an array is on {device.platform}, allowed: cpu, gpu. Copy it there."
        )

    def empty(self, shape: Tuple[int, ...], dtype: str, like: Array) -> Array:
        raise TypeError(
            "dense_decode: a buffer to be written as a JAX array, allowed: NumPy, PyTorch, CuPy. "
            "JAX arrays are immutable: use seesaw.jax.dense_decode, which schedules by itself."
        )

    def view(self, array: Array, where: str) -> Any:
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
        return self._numpy.view(phantom, where)

    def traced_dense_decode(self, *arguments: Any) -> Tuple[Array, Array]:
        from seesaw import jax as entry

        return entry.record(*arguments)


def call(
    arrays: ArrayLibrary,
    function: Any,
    head: Tuple[Any, ...],
    tensors: Sequence[Any],
    tail: Tuple[Any, ...],
    where: str,
) -> None:
    """Calls a function of a native module with tensors of one library, None and lengths of lists
    among them. `where`: the operation that messages name."""
    if arrays.direct:
        try:
            function(*head, *tensors, *tail)
            return
        except BufferError:
            pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
    seen = arrays.seen
    function(*head, *[seen(item, where) for item in tensors], *tail)


def check_devices(arrays: ArrayLibrary, items: Sequence[Any]) -> None:
    """Refuses arrays on devices that tvm-ffi has no number for."""
    for item in items:
        if item is not None and not isinstance(item, int):
            arrays.device(item)


_BY_MODULE: Dict[str, Callable[[], ArrayLibrary]] = {
    "numpy": NumPy,
    "torch": Torch,
    "cupy": CuPy,
    "jax": Jax,
    "jaxlib": Jax,
}
_by_type: Dict[type, ArrayLibrary] = {}
_by_class: Dict[Any, ArrayLibrary] = {}


def library_of(array: Array, name: str, where: str = "dense_decode") -> ArrayLibrary:
    """The library of an array. `name`: what the message calls it; `where`: in which operation."""
    known = _by_type.get(type(array))
    return known if known is not None else _find_library(array, name, where)


def _find_library(array: Array, name: str, where: str) -> ArrayLibrary:
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        for base in type(array).__mro__:
            adapter = _BY_MODULE.get(base.__module__.partition(".")[0])
            if adapter is not None:
                # setdefault: threads that race here agree on one adapter.
                found = _by_class.setdefault(adapter, adapter())
                return _by_type.setdefault(type(array), found)
    raise TypeError(
        f"{where}: {name} of type {type(array).__name__}, allowed: arrays of NumPy, "
        "PyTorch, CuPy, JAX. Convert it to one of these."
    )
