"""What the layers share: parameters, the description of a call, the call."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from seesaw._arrays import Array, ArrayLibrary, call, library_of
from seesaw._fields import dtype_name, parse_device
from seesaw._queries import KernelSupport
from seesaw._tables import DTYPES
from seesaw._yarn import RopeScaling
from seesaw.baselines._native import native, query

CAUSAL = 1
BIAS = 2
SKIP_UNUSED = 4
"""Flags of seesaw_baseline_problem."""

Fields = Tuple[Any, ...]
"""A problem as seesaw_baselines_ffi reads it; the order is that of BaselineFields in
ffi/baselines_plans.hpp."""


@dataclass(frozen=True)
class Sizes:
    """Of a layer, as in seesaw_baseline_problem; None: its default, or not of this model."""

    d_model: int
    num_heads: int
    head_dim: Optional[int] = None
    d_latent: Optional[int] = None
    d_q_latent: Optional[int] = None
    d_nope: Optional[int] = None
    d_rope: Optional[int] = None
    d_v: Optional[int] = None
    chunk_size: Optional[int] = None

    def to_fields(self) -> Fields:
        # d_q_latent = 0 means what None means, to the library and in DeepSeek's own configurations.
        return (
            _whole_number("d_model", self.d_model),
            _whole_number("num_heads", self.num_heads),
            _zero_if_none("head_dim", self.head_dim),
            _zero_if_none("d_latent", self.d_latent),
            _whole_number("d_q_latent", self.d_q_latent or 0),
            _zero_if_none("d_nope", self.d_nope),
            _zero_if_none("d_rope", self.d_rope, "2 or more, even"),
            _zero_if_none("d_v", self.d_v),
            _zero_if_none("chunk_size", self.chunk_size),
        )


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one call, counted over the algorithm's own steps: a product of
    [m, k] and [k, n] is 2 m n k operations and touches each element once; a causal mask skips
    nothing. See seesaw_baseline_cost in include/seesaw/baselines.h.

    Attributes:
        projection_operations: Products with weights.
        attention_operations: Q K^T and P V.
        projection_bytes: Moved by products with weights.
        attention_bytes: Moved by Q K^T, softmax and P V.
        other_bytes: Moved by norms, rotary embedding and copies.
        parameter_count: Numbers in all parameters.
        weight_bytes: Of all parameters.
        cache_bytes_per_token: One token of one sequence.
        score_bytes: Most scores and probabilities held at once.
        intermediate_bytes: Most that all steps hold at once.
    """

    projection_operations: int
    attention_operations: int
    projection_bytes: int
    attention_bytes: int
    other_bytes: int
    parameter_count: int
    weight_bytes: int
    cache_bytes_per_token: int
    score_bytes: int
    intermediate_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a call of one shape does.

    Attributes:
        backend: "cpu.onednn" or "cuda.cublaslt".
        workspace_elements: Of the uint8 array to pass as `workspace`, wherever the array begins.
        cache_width: Columns of the cache.
        num_products: Matrix products of one call.
        converted_products: Of these, the ones whose operands are first converted to float32,
            because the machine has no product of the dtype.
    """

    backend: str
    workspace_elements: int
    cache_width: int
    num_products: int
    converted_products: int


class Layer:
    """A layer without a backward pass; x [B, N, d_model] -> out [B, N, d_model].

    Make it, load a `state_dict`, call it. It holds references to the arrays of the `state_dict`,
    no copies. Calls do not change it, so threads may share it.
    """

    _model: int
    """seesaw_baseline_model."""

    def __init__(
        self,
        sizes: Sizes,
        *,
        flags: int = 0,
        rope_theta: Optional[float] = None,
        norm_epsilon: Optional[float] = None,
        scale: Optional[float] = None,
        num_threads: int = 0,
        rope_scaling: Optional[RopeScaling] = None,
    ) -> None:
        yarn = rope_scaling or RopeScaling()
        self._sizes = sizes.to_fields()
        self._flags = flags
        self._numbers = tuple(
            _zero_if_none(name, value, allowed, _real_number)
            for name, value, allowed in (
                ("rope_theta", rope_theta, "a positive number"),
                ("norm_epsilon", norm_epsilon, "a positive number"),
                ("scale", scale, "a finite number other than 0"),
            )
        ) + (yarn.factor, yarn.beta_fast, yarn.beta_slow, yarn.mscale, yarn.mscale_all_dim)
        self._num_threads = _whole_number("num_threads", num_threads)
        self._original_positions = yarn.original_max_position_embeddings
        self._weights: Dict[str, Array] = {}
        self._arrays: Optional[ArrayLibrary] = None
        self.parameter_shapes: Dict[str, Tuple[int, ...]] = {
            name: tuple(shape) for name, shape in query("parameters", *self._fields())
        }
        """Names and shapes of the `state_dict`, in order."""

    def load_state_dict(
        self, state_dict: Mapping[str, Array], prefix: str = "", strict: bool = True
    ) -> Layer:
        """Takes the parameters from a PyTorch `state_dict`, or a mapping of NumPy or CuPy arrays.

        Args:
            state_dict: Name to array: contiguous, of one dtype and on one device; shapes as in
                `parameter_shapes`. The arrays are kept, not copied.
            prefix: What the layer's names begin with, such as "layers.0.self_attn."; others are
                left alone.
            strict: Refuse names with the prefix that the layer does not have.

        Returns:
            The layer itself.

        Raises:
            ValueError: A name is missing or unknown, or a shape is wrong.
            TypeError: A dtype is wrong, or the arrays are of different libraries.
        """
        self._check_names(state_dict, prefix, strict)
        weights: Dict[str, Array] = {}
        first = ""
        for name, shape in self.parameter_shapes.items():
            key = prefix + name
            array = state_dict[key]
            arrays = _library_of(array, key)
            dtype = arrays.dtype_name(array)
            if tuple(array.shape) != shape:
                raise ValueError(
                    f"baselines: {key} has shape {list(array.shape)}, allowed: {list(shape)}. "
                    "Load the state_dict of a layer with the same arguments."
                )
            _float_code(dtype, key)
            if not weights:
                first, first_arrays, first_dtype = key, arrays, dtype
            if dtype != first_dtype:
                raise TypeError(
                    f"baselines: {key} has dtype {dtype}, allowed: {first_dtype}, as {first}. "
                    "Convert the state_dict to one dtype."
                )
            if arrays is not first_arrays:
                raise TypeError(
                    f"baselines: {key} is an array of {arrays.name}, allowed: NumPy, PyTorch or "
                    "CuPy, the same for all. Convert the state_dict."
                )
            weights[name] = array
        self._weights, self._arrays = weights, first_arrays
        return self

    def state_dict(self, prefix: str = "") -> Dict[str, Array]:
        """The parameters that were loaded, by name."""
        return {prefix + name: array for name, array in self._weights.items()}

    def cost(
        self,
        batch: int,
        tokens: int,
        *,
        past_tokens: int = 0,
        cache_capacity: int = 0,
        dtype: str = "float32",
        causal: bool = False,
    ) -> Cost:
        """Operations and bytes of a call with x [batch, tokens, d_model]; needs no device.

        past_tokens: Tokens in the cache before the call; cache_capacity >= past_tokens + tokens.
        """
        fields = self._fields(
            (1, 0), _float_code(dtype, "x"), batch, tokens, cache_capacity, causal
        )
        counts = query("cost", _whole_number("past_tokens", past_tokens), *fields)
        return Cost(**{name: int(count) for name, count in counts.items()})

    def supports(
        self, batch: int, tokens: int, *, dtype: str = "float32", device: str = "cpu"
    ) -> List[KernelSupport]:
        """Every backend's answer to x [batch, tokens, d_model], and why not."""
        fields = self._fields(parse_device(device), _float_code(dtype, "x"), batch, tokens)
        return [KernelSupport(**row) for row in query("backend_support", *fields)]

    def explain(self, x: Array, *, cache: Optional[Array] = None, causal: bool = False) -> Plan:
        """What a call with these arrays does. Nothing runs."""
        fields = self._fields_of(_library_of(x, "x"), x, cache, causal)
        return Plan(**query("plan_info", *fields))

    def workspace_size(
        self, x: Array, *, cache: Optional[Array] = None, causal: bool = False
    ) -> int:
        """Elements of the uint8 array to pass as `workspace`; 0: none is needed. With
        num_threads=0 it is for as many threads as OpenMP would use now."""
        return self.explain(x, cache=cache, causal=causal).workspace_elements

    def new_cache(self, x: Array, capacity: int) -> Array:
        """A cache for sequences of up to `capacity` tokens: [B, capacity, cache_width], of x's
        dtype, on its device. Not initialised: calls write before they read."""
        arrays = _library_of(x, "x")
        plan = query("plan_info", *self._fields_of(arrays, x, None, False, capacity))
        return arrays.empty((x.shape[0], capacity, plan["cache_width"]), "like", x)

    def _call(
        self,
        x: Array,
        mask: Optional[Array],
        positions: Optional[Array],
        causal: bool,
        cache: Optional[Array],
        past_tokens: int,
        out: Optional[Array],
        workspace: Optional[Array],
    ) -> Array:
        arrays = _library_of(x, "x")
        if self._arrays is None:
            raise ValueError(
                "baselines: a call without parameters, allowed: after load_state_dict. "
                "Load a state_dict."
            )
        if arrays is not self._arrays:
            raise TypeError(
                f"baselines: x is an array of {arrays.name}, allowed: {self._arrays.name}, as the "
                "parameters. Convert one of them."
            )
        fields = self._fields_of(arrays, x, cache, causal)
        if out is None:
            out = arrays.empty(tuple(x.shape), "like", x)
        if workspace is None:
            elements = query("plan_info", *fields)["workspace_elements"]
            workspace = arrays.empty((elements,), "uint8", x) if elements else None
        written = {"out": out, "cache": cache, "workspace": workspace}
        for name, array in written.items():
            if array is not None:
                arrays.check_writable(array, name, "baselines")
        call(
            arrays,
            native().run,
            (),
            (x, out, _as_bytes(mask), positions, cache, workspace, *self._weights.values()),
            (arrays.stream(x), _whole_number("past_tokens", past_tokens), *fields),
            ("x", "out", "mask", "positions", "cache", "workspace", *self._weights),
            "baselines",
        )
        if arrays.mark_written is not None:
            arrays.mark_written([array for array in (out, cache) if array is not None])
        return out

    def _fields_of(
        self,
        arrays: ArrayLibrary,
        x: Array,
        cache: Optional[Array],
        causal: bool,
        capacity: Optional[int] = None,
    ) -> Fields:
        """The problem of these arrays. `capacity`: of the cache, if there is no array yet."""
        for name, array, shape in (
            ("x", x, "[B, N, d_model]"),
            ("cache", cache, "[B, capacity, cache_width]"),
        ):
            if array is not None and len(_shape_of(array, name)) != 3:
                raise ValueError(
                    f"baselines: {name} has rank {len(array.shape)}, allowed: {shape}. "
                    "Reshape the array."
                )
        code = _float_code(arrays.dtype_name(x), "x")
        if cache is not None:
            capacity = cache.shape[1]
        if capacity == 0:  # to the library: no cache
            raise ValueError(
                f"baselines: a cache with capacity = 0, allowed: {x.shape[1]} or more, the tokens "
                "of x. Make it larger, or leave the cache out."
            )
        return self._fields(arrays.device(x), code, x.shape[0], x.shape[1], capacity or 0, causal)

    def _fields(
        self,
        device: Tuple[int, int] = (1, 0),
        dtype: int = DTYPES["float32"],
        batch: int = 1,
        tokens: int = 1,
        capacity: int = 0,
        causal: bool = False,
    ) -> Fields:
        return (
            *device,
            self._model,
            dtype,
            _whole_number("batch", batch),
            _whole_number("tokens", tokens),
            _whole_number("cache_capacity", capacity),
            *self._sizes,
            self._flags | (CAUSAL if _yes_or_no("causal", causal) else 0),
            self._num_threads,
            self._original_positions,
            *self._numbers,
        )

    def _check_names(self, state_dict: Mapping[str, Array], prefix: str, strict: bool) -> None:
        missing = [
            prefix + name for name in self.parameter_shapes if prefix + name not in state_dict
        ]
        if missing:
            raise ValueError(
                f"baselines: the state_dict has no {', '.join(missing)}, allowed: all of "
                f"{', '.join(prefix + name for name in self.parameter_shapes)}. Load the "
                "state_dict of a layer with the same arguments, or set prefix."
            )
        if not strict:
            return
        unknown = [
            key
            for key in state_dict
            if key.startswith(prefix) and key[len(prefix) :] not in self.parameter_shapes
        ]
        if unknown:
            raise ValueError(
                f"baselines: the state_dict has {', '.join(unknown)}, allowed: "
                f"{', '.join(prefix + name for name in self.parameter_shapes)}. Make the layer "
                "with other arguments, or pass strict=False."
            )


def _zero_if_none(
    name: str,
    value: Any,
    allowed: str = "1 or more",
    read: Optional[Callable[[str, Any], Any]] = None,
) -> Any:
    """A size or number as the library reads it: 0 stands for the default, so that a caller's own 0
    would turn into another value."""
    if value is None:
        return 0
    if not isinstance(value, Real) or value != 0:
        value = (read or _whole_number)(name, value)
    if value == 0:
        raise ValueError(
            f"baselines: {name} = {value}, allowed: {allowed}. "
            "Correct its value, or leave it out for the default."
        )
    return value


def _shape_of(array: Array, name: str) -> Tuple[int, ...]:
    _library_of(array, name)
    return array.shape


def _library_of(array: Array, name: str) -> ArrayLibrary:
    arrays = library_of(array, name, "baselines")
    if arrays.name == "jax":
        raise TypeError(
            f"baselines: {name} is an array of jax, allowed: NumPy, PyTorch, CuPy. Convert it to "
            "one of these."
        )
    return arrays


def _whole_number(name: str, value: Any) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(
            f"baselines: {name} of type {type(value).__name__}, allowed: an integer. Pass an int."
        ) from None
    if abs(number) >= 2**62:
        raise ValueError(
            f"baselines: {name} has {number.bit_length()} bits, allowed: less than 63. "
            "Correct its value."
        )
    return number


def _yes_or_no(name: str, value: Any) -> bool:
    try:
        return {True: True, False: False}[value]
    except (KeyError, TypeError):
        raise TypeError(
            f"baselines: {name} of type {type(value).__name__}, allowed: True, False. Pass a bool."
        ) from None


def _real_number(name: str, value: Any) -> float:
    if not isinstance(value, Real):
        raise TypeError(
            f"baselines: {name} of type {type(value).__name__}, allowed: a number. Pass a float."
        )
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"baselines: {name} is beyond float64, allowed: a finite number. Correct its value."
        ) from None


def _float_code(dtype: Any, name: str) -> int:
    dtype = dtype_name(dtype)
    code = DTYPES.get(dtype)
    if code is None or dtype == "int32":
        raise TypeError(
            f"baselines: {name} has dtype {dtype}, allowed: float32, bfloat16, float16. "
            "Convert it to one of these."
        )
    return code


def _as_bytes(mask: Optional[Array]) -> Optional[Array]:
    """NumPy's and CuPy's masks of bool, seen as uint8: not every version passes bool on."""
    dtype = getattr(mask, "dtype", None)
    return mask.view("uint8") if getattr(dtype, "name", None) == "bool" else mask  # type: ignore


