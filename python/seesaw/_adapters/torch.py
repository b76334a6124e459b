"""PyTorch's tensors."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

import torch

from seesaw._arrays import CPU, CUDA, Array, ArrayLibrary, always
from seesaw._fields import Operation
from seesaw._library import CURRENT_STREAM, library, load_torch_support


class Torch(ArrayLibrary):
    name = "torch"
    direct = True
    fixed_stream = CURRENT_STREAM

    def __init__(self) -> None:
        load_torch_support()
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
        self.traces_calls = _tracing()
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
        if array.layout is not torch.strided:
            raise TypeError(
                f"{where}: {name} has layout {array.layout}, allowed: torch.strided. "
                "Call its to_dense()."
            )
        super().check(array, name, where)

    def is_promise(self, item: Any) -> bool:
        return isinstance(item, torch.Tensor) and item.is_neg()

    def view(self, array: Array, name: str, where: str) -> Any:
        if array.is_complex():
            raise TypeError(
                f"{where}: {name} has dtype {self.dtype_name(array)}, allowed: float32, bfloat16, "
                "float16, int32. Convert it."
            )
        array = array.detach() if array.requires_grad else array
        if array.dtype in self._bytes:
            array = array.view(torch.uint8)
        return array.resolve_neg()

    def narrow(self, array: Array) -> Array:
        int32 = torch.iinfo(torch.int32)
        return array.clamp(int32.min, int32.max).to(torch.int32)

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
        from seesaw.torch import _record

        return _record


class TorchSubclass(Torch):
    """Tensors that see operators before they run: FakeTensor, DTensor. What they hold is theirs, so
    calls go through the operators."""

    def __init__(self) -> None:
        super().__init__()
        self.traces_calls = always


def sees_operators(tensor_type: type) -> bool:
    """Whether tensors of this type want a `TorchSubclass`."""
    return tensor_type.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__  # type: ignore


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


def _tracing() -> Callable[[], bool]:
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
