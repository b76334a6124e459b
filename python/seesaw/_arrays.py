"""What the package has to know of each array library: dtypes, strides, allocation, streams.

One small class a library (a file of `_adapters`), found by the array's type; a library is imported
only once an array of its own has been seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple

from seesaw._fields import Arg, Operation, name_device
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
    def view(self, array: Array, name: str, where: str) -> Any:
        """What tvm-ffi takes for this array in any case, without a copy unless the array is a
        promise of one. `name`, `where`: of the array and of the operation, for messages."""

    def check(self, array: Array, name: str, where: str) -> None:
        """Refuses an array whose memory or device tvm-ffi has no word for."""
        self.device(array)

    def seen(self, item: Any, name: str, where: str) -> Any:
        """The same for what may be None or a number, of this library. JAX: of what is not yet
        there, too."""
        if item is None or not name:  # a number has no name
            return item
        if library_of(item, name, where) is not self:
            refuse_other_library(self, item, name, where)
        return self.view(item, name, where)

    @abstractmethod
    def narrow(self, array: Array) -> Array:
        """An array of int64 as one of int32, on the current stream. What int32 has no number for
        becomes its least or its largest, which is as wrong."""

    @abstractmethod
    def may_write(self, outputs: Sequence[Array]) -> bool:
        """Whether these can surely be written, found in the least time. False: `check_writable`
        knows; read-only arrays of NumPy are left to it, as tvm-ffi raises BufferError for them."""

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
        """Dense decoding proper by a schedule, as the layers of a step call it: what `run` does,
        without what such a call does not need. False: nothing ran, as tvm-ffi does not take these
        arrays as they are or as they may not be written; `run` knows.

        given_outputs: (out, lse) if they are the caller's, else ().
        """
        return False

    @abstractmethod
    def why_not_writable(self, array: Array) -> str:
        """ "" or what forbids to write to an array of this library."""

    def check_writable(self, array: Array, name: str, where: str) -> None:
        """Refuses what may not be written."""
        if library_of(array, name, where) is not self:
            refuse_other_library(self, array, name, where)
        reason = self.why_not_writable(array)
        if reason:
            raise ValueError(
                f"{where}: {name} {reason}, allowed: an array that can be written. Pass another "
                "one, or a copy."
            )

    wants_views: Optional[Callable[[Operation, Sequence[Any]], bool]] = None
    """Whether an input of these tensors is not in memory what it says. None: never."""

    def is_promise(self, item: Any) -> bool:
        """Whether this is an array whose memory does not hold what it says."""
        return False

    mark_written: Optional[Callable[[Sequence[Array]], None]] = None
    """Tells the library that these were written. None: it does not care."""

    fixed_stream: Optional[int] = None
    """What `stream` returns for every array; None: it depends."""

    def stream(self, array: Array) -> int:
        """The current stream of the array's device, or CURRENT_STREAM if tvm-ffi asks itself."""
        assert self.fixed_stream is not None
        return self.fixed_stream

    traces_calls: Optional[Callable[[], bool]] = None
    """Whether calls are to be recorded by `tracer`, not made now. None: never."""

    def tracer(self) -> Any:
        """The module whose functions record calls: `record`, `record_sparse`, `record_prepare`,
        `record_merge`, `record_append`, `record_gather`."""
        raise NotImplementedError(f"{self.name} makes its calls at once")


def always() -> bool:
    """As `traces_calls`: every call is recorded."""
    return True


def one_number(array: Optional[Array]) -> Optional[Array]:
    """An array of one number with a dimension, [1]."""
    if getattr(array, "shape", None) == () and hasattr(array, "reshape"):
        return array.reshape(1)  # type: ignore[union-attr]
    return array


def refuse_other_library(arrays: ArrayLibrary, array: Array, name: str, where: str) -> NoReturn:
    raise TypeError(
        f"{where}: {name} is a {type(array).__module__}.{type(array).__name__}, allowed: arrays of "
        f"{arrays.name}, as the first one. Convert it."
    )


def narrowed(
    arrays: ArrayLibrary, args: Sequence[Arg], tensors: Sequence[Any], where: str
) -> List[Any]:
    """Tensors of these rows of a table, those of int64 that have to be of int32 converted."""

    def to_int32(arg: Arg, tensor: Any) -> Any:
        if tensor is None or arg.dtype != "int32":
            return tensor
        if library_of(tensor, arg.name, where) is not arrays:
            refuse_other_library(arrays, tensor, arg.name, where)
        return arrays.narrow(tensor) if arrays.dtype_name(tensor) == "int64" else tensor

    return [to_int32(arg, tensor) for arg, tensor in zip(args, tensors)]


def call(
    arrays: ArrayLibrary,
    function: Any,
    head: Tuple[Any, ...],
    tensors: Sequence[Any],
    tail: Tuple[Any, ...],
    names: Sequence[str],
    where: str,
) -> Any:
    """Calls a function of a native module with tensors of one library, None among them. `names`: of
    the tensors; `where`: the operation that messages name."""
    try:
        if arrays.direct and not any(map(arrays.is_promise, tensors)):
            try:
                return function(*head, *tensors, *tail)
            except BufferError:
                pass  # read only, bfloat16 of ml_dtypes, gradients required: what views are for
        seen = [arrays.seen(item, name, where) for item, name in zip(tensors, names)]
        return function(*head, *seen, *tail)
    except Exception:
        check_arrays(arrays, tensors, names, where)
        raise


def check_arrays(
    arrays: ArrayLibrary, items: Sequence[Any], names: Sequence[str], where: str
) -> None:
    """Refuses what is no array, and arrays on devices that tvm-ffi has no number for: asked after a
    call failed, for a better message than tvm-ffi's. None stands for what is not given."""
    for item, name in zip(items, names):
        if item is not None and name:
            library_of(item, name, where).check(item, name, where)


known_libraries: Dict[type, ArrayLibrary] = {}
"""By the type of their arrays, once one has been seen: a look at it is less than a call of
`library_of`."""
_by_class: Dict[Any, ArrayLibrary] = {}


def library_of(array: Array, name: str, where: str = "dense_decode") -> ArrayLibrary:
    """The library of an array. `name`: what the message calls it; `where`: in which operation."""
    known = known_libraries.get(type(array))
    return known if known is not None else _find_library(array, name, where)


def _find_library(array: Array, name: str, where: str) -> ArrayLibrary:
    if hasattr(array, "shape") and hasattr(array, "dtype") and not isinstance(array, type):
        from seesaw._adapters import adapter_of

        adapter = adapter_of(type(array))
        if adapter is not None:
            # setdefault: threads that race here agree on one adapter.
            found = _by_class.get(adapter) or _by_class.setdefault(adapter, adapter())
            return known_libraries.setdefault(type(array), found)
    raise TypeError(
        f"{where}: {name} of type {type(array).__name__}, allowed: arrays of NumPy, "
        "PyTorch, CuPy, JAX. Convert it to one of these."
    )
