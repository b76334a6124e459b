"""Reading from a paged cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from seesaw._arrays import CPU, Array, ArrayLibrary, library_of, one_number
from seesaw._call import run
from seesaw._fields import dtype_name, whole_number
from seesaw._formats import CacheFormat, check_kv_scale, format_of
from seesaw._keys import known_settings_key, settings_key
from seesaw._tables import GATHER, OptionSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NUMBERS = ("float32", "bfloat16", "float16")


def gather(
    kv_cache: Array,
    *,
    block_table: Optional[Array] = None,
    cu_seq_lens: Optional[Array] = None,
    starts: Optional[Array] = None,
    slots: Optional[Array] = None,
    kv_format: Optional[str] = None,
    dtype: Any = None,
    out: Optional[Array] = None,
    rows: Optional[int] = None,
    kv_scale: Optional[Array] = None,
    **options: Unpack[OptionSettings],
) -> Array:
    """Gathers cached tokens into contiguous rows, as numbers or as they are stored.

    By pages: row cu_seq_lens[i] + j of out is token starts[i] + j of sequence i. By slots: row j is
    the token at slots[j], page * page_size + place; a negative slot, or one behind the cache, gives
    zeros. Numbers are elements times scales in float32, rounded once to the dtype of out. Same
    inputs, same bits. On a GPU: asynchronous on the current stream of the array library, no
    synchronisation, capturable in a CUDA graph. (docs/cache-formats.md has the formats.)

    Args:
        kv_cache: As of `append`; only read.
        block_table: [b, max_pages] int32: page ids.
        cu_seq_lens: [b + 1] int32, growing from 0: where the rows of each sequence begin.
        starts: [b] int32: first tokens. None: 0.
        slots: [n] int64 or int32, in place of these three.
        kv_format: Of `seesaw.formats()`; needed for a cache of bytes.
        dtype: "float32", "bfloat16", "float16" or the array library's own dtype of that name: of
            the numbers. "raw": rows as they are stored, a record's row and then its tail, in uint8
            (caches of a float dtype: in that). None: that of out, else the cache's, else bfloat16.
        out: [n, columns], or [n, token bytes] for "raw". Rows behind the last sequence are left
            alone. None: allocated.
        rows: By pages: how many rows out is allocated with. None: the last of cu_seq_lens, which
            can be read without waiting for a device on the CPU alone.
        kv_scale: [1] float32: what is stored is multiplied by it, in formats of one scale
            (fp8_576). None: 1.
        options: num_threads, check_data, kernel, ... of `Options`.

    Returns:
        out.

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
        RuntimeError: The CUDA driver failed, or the library did.
    """
    arrays = library_of(kv_cache, "kv_cache", "gather")
    stored = format_of("gather", kv_format)
    if len(kv_cache.shape) not in (3, 4):
        raise ValueError(
            f"gather: kv_cache has rank {len(kv_cache.shape)}, allowed: "
            "[num_pages, page_size, columns]. Reshape the array."
        )
    if kv_scale is not None:
        check_kv_scale("gather", kv_format)
    settings = {"kv_format": kv_format, **options}
    traces = arrays.traces_calls
    traced = traces is not None and traces()
    if out is None:
        shape, name = _shape_of_out(
            arrays, kv_cache, stored, dtype, _count_rows(arrays, cu_seq_lens, slots, rows, traced)
        )
    elif dtype is not None:
        _check_dtype_of(arrays, out, kv_cache, stored, dtype)
    named = {
        "kv_cache": kv_cache,
        "block_table": block_table,
        "cu_seq_lens": cu_seq_lens,
        "starts": starts,
        "slots": slots,
        "kv_scale": one_number(kv_scale),
        "out": out,
    }
    if traced and arrays.name == "jax":
        if out is not None:
            arrays.check_writable(out, "out", "gather")
        tensors = tuple(named[arg.name] for arg in GATHER.args)
        return arrays.tracer().record_gather(tensors, settings, (shape, name))
    given = () if out is None else (out,)
    if out is None:
        named["out"] = out = arrays.empty(shape, name, kv_cache)
    tensors = tuple(named[arg.name] for arg in GATHER.args)
    if traced:
        arrays.tracer().record_gather(tensors, settings, None)
        return out
    run_gather(arrays, tensors, settings, given)
    return out


def _count_rows(
    arrays: ArrayLibrary,
    cu_seq_lens: Optional[Array],
    slots: Optional[Array],
    rows: Optional[int],
    traced: bool,
) -> int:
    if slots is not None:
        library_of(slots, "slots", "gather")
        if len(slots.shape) != 1:
            raise ValueError(
                f"gather: slots has rank {len(slots.shape)}, allowed: [n]. Reshape the array."
            )
        return int(slots.shape[0])
    if rows is not None:
        return whole_number("gather", "rows", rows, 0, 2**62)
    if cu_seq_lens is None:
        raise ValueError(
            "gather: neither slots nor block_table with cu_seq_lens, allowed: one of them. "
            "Say which tokens to gather."
        )
    where = library_of(cu_seq_lens, "cu_seq_lens", "gather")
    if traced or where.device(cu_seq_lens)[0] != CPU:
        raise ValueError(
            "gather: neither out nor rows with cu_seq_lens "
            + ("in a trace" if traced else "on a device")
            + ", allowed: one of them, as reading cu_seq_lens would wait for it. "
            "Pass rows, an int."
        )
    if where.dtype_name(cu_seq_lens) != "int32":
        raise TypeError(
            f"gather: cu_seq_lens has dtype {where.dtype_name(cu_seq_lens)}, allowed: int32. "
            "Convert the array."
        )
    if len(cu_seq_lens.shape) != 1 or cu_seq_lens.shape[0] == 0:
        raise ValueError(
            f"gather: cu_seq_lens has shape {list(cu_seq_lens.shape)}, allowed: [b + 1]. "
            "Pass the first row of each sequence, and the end of the last."
        )
    return max(int(cu_seq_lens[-1]), 0)


def _wanted_dtype(
    arrays: ArrayLibrary, kv_cache: Array, stored: Optional[CacheFormat], dtype: Any
) -> str:
    """Of out, by name; "like": the cache's."""
    if dtype is None:
        return "like" if stored is None else "bfloat16"
    name = dtype if isinstance(dtype, str) else dtype_name(dtype)
    if name == "raw":
        return "like" if stored is None else "uint8"
    if name not in _NUMBERS:
        raise TypeError(
            f'gather: dtype = {dtype!r}, allowed: "float32", "bfloat16", "float16", "raw", or the '
            "array library's own dtype. Choose one of them."
        )
    return name


def _shape_of_out(
    arrays: ArrayLibrary, kv_cache: Array, stored: Optional[CacheFormat], dtype: Any, rows: int
) -> Tuple[Tuple[int, int], str]:
    name = _wanted_dtype(arrays, kv_cache, stored, dtype)
    if stored is None:
        return (rows, kv_cache.shape[-1]), name
    return (rows, stored.token_bytes if name == "uint8" else stored.columns), name


def _check_dtype_of(
    arrays: ArrayLibrary, out: Array, kv_cache: Array, stored: Optional[CacheFormat], dtype: Any
) -> None:
    wanted = _wanted_dtype(arrays, kv_cache, stored, dtype)
    if wanted == "like":
        wanted = arrays.dtype_name(kv_cache)
    found = library_of(out, "out", "gather").dtype_name(out)
    if found != wanted and not (wanted == "uint8" and found in ("int8", "float8_e4m3fn")):
        raise TypeError(
            f"gather: out has dtype {found}, allowed: {wanted}, as dtype = {dtype!r} says. "
            "Leave dtype out, or pass another out."
        )


def run_gather(
    arrays: ArrayLibrary,
    tensors: Tuple[Any, ...],
    settings: Dict[str, Any],
    given_outputs: Tuple[Array, ...],
) -> None:
    """`tensors`: in the order of the operation's table."""
    try:
        key = known_settings_key(GATHER, **settings)
    except TypeError:
        key = settings_key(GATHER, **settings)
    run(GATHER, arrays, key, tensors, given_outputs=given_outputs)
