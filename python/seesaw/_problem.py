"""A problem: everything that is known before any data, and that decides kernel and buffers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Dict, NoReturn, Optional, Tuple, Union

from seesaw._arrays import CPU, CUDA, Array, dtype_code, library_of
from seesaw._library import library

CAUSAL = 1
LSE_BASE2 = 2
LSE_EMPTY_IS_POSITIVE_INFINITY = 4
BATCH_INVARIANT = 8
CHECK_DATA = 16
"""Flags of seesaw_dense_decode_problem."""

LseBase = Union[str, int]
"""\"e\" or 2."""

Fields = Tuple[int, ...]
"""A problem as seesaw_ffi reads it; the order is that of ProblemField in ffi/plan_cache.hpp."""

FIELD_S_Q, FIELD_H_Q, FIELD_D_QK, FIELD_D_V = 5, 6, 8, 9


@dataclass(frozen=True)
class Problem:
    """Dense decoding before any data. Sizes in elements; see include/seesaw/seesaw.h.

    Attributes:
        batch: The most sequences of one call; a call may bring fewer.
        h_q: Query heads, a multiple of `h_kv`.
        max_pages_per_sequence: Columns of the block table.
        s_q: Query tokens of each sequence.
        h_kv: KV heads, 1 in MLA.
        d_qk: Columns of q and of the cache.
        d_v: Columns of out: the first `d_v` of the cache's.
        page_size: Tokens of a page.
        dtype: Of q and out: "float32", "bfloat16" or "float16".
        kv_dtype: Of the cache; None: as `dtype`.
        device: "cpu", "cuda" or "cuda:1".
        kv_page_stride, kv_token_stride, kv_head_stride: Of the cache; 0: packed.
        causal: Query token i of s_q sees the first `seq_len - s_q + i + 1` keys.
        lse_base: "e", or 2.
        empty_lse: LSE of a row with nothing to attend: "-inf", or FlashMLA's "+inf".
        batch_invariant: A sequence's result does not depend on the rest of the batch.
        check_data: Also check lengths and page ids on the device, as SEESAW_CHECK=1 does.
        num_threads: Workers on the CPU; 0: as many as OpenMP allowed when the library was loaded.
        kernel: Insist on a kernel by name; None: the first that can.
    """

    batch: int
    h_q: int
    max_pages_per_sequence: int
    s_q: int = 1
    h_kv: int = 1
    d_qk: int = 576
    d_v: int = 512
    page_size: int = 64
    dtype: str = "bfloat16"
    kv_dtype: Optional[str] = None
    device: str = "cpu"
    kv_page_stride: int = 0
    kv_token_stride: int = 0
    kv_head_stride: int = 0
    causal: bool = False
    lse_base: LseBase = "e"
    empty_lse: str = "-inf"
    batch_invariant: bool = False
    check_data: bool = False
    num_threads: int = 0
    kernel: Optional[str] = None

    @classmethod
    def of(
        cls,
        q: Array,
        kv_cache: Array,
        block_table: Array,
        *,
        batch: Optional[int] = None,
        d_v: int = 512,
        causal: bool = False,
        lse_base: LseBase = "e",
        empty_lse: str = "-inf",
        batch_invariant: bool = False,
        check_data: bool = False,
        num_threads: int = 0,
        kernel: Optional[str] = None,
    ) -> Problem:
        """The problem of these arrays; batch None: theirs.

        q: [b, s_q, h_q, d_qk]; kv_cache: [num_pages, page_size, h_kv, d_qk], or with h_kv = 1
        [num_pages, page_size, d_qk]; block_table: [b, max_pages_per_sequence].
        """
        options = make_options(
            causal, lse_base, empty_lse, batch_invariant, check_data, num_threads, kernel
        )
        return cls.from_fields(fields_of(q, kv_cache, block_table, d_v, options, batch))

    @classmethod
    def from_fields(cls, fields: Fields) -> Problem:
        """The problem that `fields` describes."""
        device_type, index, dtype, kv_dtype, *sizes, flags, num_threads, kernel = fields
        batch, s_q, h_q, h_kv, d_qk, d_v, page_size, max_pages, page, token, head = sizes
        return cls(
            batch=batch,
            h_q=h_q,
            max_pages_per_sequence=max_pages,
            s_q=s_q,
            h_kv=h_kv,
            d_qk=d_qk,
            d_v=d_v,
            page_size=page_size,
            dtype=_DTYPE_NAMES[dtype],
            kv_dtype=_DTYPE_NAMES[kv_dtype],
            device="cpu" if device_type == CPU else f"cuda:{index}",
            kv_page_stride=page,
            kv_token_stride=token,
            kv_head_stride=head,
            causal=bool(flags & CAUSAL),
            lse_base=2 if flags & LSE_BASE2 else "e",
            empty_lse="+inf" if flags & LSE_EMPTY_IS_POSITIVE_INFINITY else "-inf",
            batch_invariant=bool(flags & BATCH_INVARIANT),
            check_data=bool(flags & CHECK_DATA),
            num_threads=num_threads,
            kernel=None if kernel < 0 else library.kernels[kernel],
        )

    def to_fields(self) -> Fields:
        """The same as plain integers. Raises as `make_options`, and TypeError for a dtype."""
        options = make_options(
            self.causal,
            self.lse_base,
            self.empty_lse,
            self.batch_invariant,
            self.check_data,
            self.num_threads,
            self.kernel,
        )
        return (
            *parse_device(self.device),
            dtype_code(self.dtype, "q"),
            dtype_code(self.kv_dtype or self.dtype, "kv_cache"),
            self.batch,
            self.s_q,
            self.h_q,
            self.h_kv,
            self.d_qk,
            self.d_v,
            self.page_size,
            self.max_pages_per_sequence,
            self.kv_page_stride,
            self.kv_token_stride,
            self.kv_head_stride,
            *options,
        )


_DTYPE_NAMES: Dict[int, str] = {1: "float32", 2: "bfloat16", 3: "float16", 4: "int32"}


def parse_device(device: str) -> Tuple[int, int]:
    kind, _, index = str(device).partition(":")
    if kind == "cpu" and index in ("", "0"):
        return (CPU, 0)
    if kind == "cuda" and (index == "" or index.isdigit()):
        return (CUDA, int(index or 0))
    raise ValueError(
        f'seesaw: device = "{device}", allowed: "cpu", "cuda", "cuda:N". Correct the name.'
    )


Options = Tuple[int, int, int]
"""(flags, num_threads, kernel's index): the last fields of a problem."""


@lru_cache(maxsize=64)
def make_options(
    causal: Optional[bool] = None,
    lse_base: Optional[LseBase] = None,
    empty_lse: Optional[str] = None,
    batch_invariant: Optional[bool] = None,
    check_data: Optional[bool] = None,
    num_threads: Optional[int] = None,
    kernel: Optional[str] = None,
) -> Options:
    """Checks the options of a problem. None: the default of `Problem`."""
    if lse_base not in (None, "e", 2):
        raise ValueError(
            f'dense_decode: lse_base = {lse_base!r}, allowed: "e", 2. Choose one of them.'
        )
    if empty_lse not in (None, "-inf", "+inf"):
        raise ValueError(
            f'dense_decode: empty_lse = {empty_lse!r}, allowed: "-inf", "+inf". Choose one of them.'
        )
    flags = CAUSAL if causal else 0
    flags |= LSE_BASE2 if lse_base == 2 else 0
    flags |= LSE_EMPTY_IS_POSITIVE_INFINITY if empty_lse == "+inf" else 0
    flags |= BATCH_INVARIANT if batch_invariant else 0
    flags |= CHECK_DATA if check_data else 0
    # A plan fixes its number of threads, and so the size of its buffers: resolve 0 here, once.
    threads = num_threads or library.max_threads
    return (flags, threads, -1 if kernel is None else library.kernel_index(kernel))


def fields_of(
    q: Array,
    kv_cache: Array,
    block_table: Array,
    d_v: int,
    options: Options,
    batch: Optional[int] = None,
) -> Fields:
    """The problem of these arrays, as plain integers. On the path of every call."""
    arrays = library_of(q, "q")
    cache = library_of(kv_cache, "kv_cache")
    try:
        b, s_q, h_q, d_qk = q.shape
    except ValueError:
        _refuse_rank("q", q, "[b, s_q, h_q, d_qk]")
    shape = kv_cache.shape
    strides = cache.strides(kv_cache)
    if len(shape) == 4:
        _, page_size, h_kv, _ = shape
        page_stride, token_stride, head_stride, _ = strides
    elif len(shape) == 3:
        _, page_size, _ = shape
        page_stride, token_stride, _ = strides
        h_kv, head_stride = 1, 0
    else:
        _refuse_rank(
            "kv_cache",
            kv_cache,
            "[num_pages, page_size, h_kv, d_qk], [num_pages, page_size, d_qk]",
        )
    if len(block_table.shape) != 2:
        _refuse_rank("block_table", block_table, "[b, max_pages_per_sequence]")
    return (
        *arrays.device(q),
        dtype_code(arrays.dtype_name(q), "q"),
        dtype_code(cache.dtype_name(kv_cache), "kv_cache"),
        batch if batch is not None else b or 1,
        s_q,
        h_q,
        h_kv,
        d_qk,
        d_v,
        page_size,
        block_table.shape[1],
        page_stride,
        token_stride,
        head_stride,
        *options,
    )


def _refuse_rank(name: str, array: Array, shapes: str) -> NoReturn:
    raise ValueError(
        f"dense_decode: {name} has rank {len(array.shape)}, allowed: {shapes}. Reshape the array."
    )
