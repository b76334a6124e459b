"""Cache formats, and caches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, Optional

if TYPE_CHECKING:
    from seesaw._arrays import Array


_MOST = 2**31 - 1


@dataclass(frozen=True)
class CacheFormat:
    """How a cached token is stored, in bytes: its row, and behind the page's rows its tail.

    Attributes:
        name: As `kv_format` takes it. help: Whose it is.
        d_latent, d_rope: Columns of the latent and of the rotary part.
        row_bytes, tail_bytes: Of a token. Token t of a page has its row at t * row_bytes, and its
            tail, if any, at page_size * row_bytes + t * tail_bytes.
        page_alignment: A page is a multiple of so many bytes.
        scales: Stored with a token; each is for `scale_group` of the first `scaled_columns`.
        tensor_scale: Whether one more scale, of the whole cache, comes with each call (kv_scale).
    """

    name: str
    help: str
    d_latent: int
    d_rope: int
    row_bytes: int
    tail_bytes: int
    page_alignment: int
    scales: int
    scaled_columns: int
    scale_group: int
    tensor_scale: bool

    @property
    def columns(self) -> int:
        """Numbers of a token, whatever they are stored in."""
        return self.d_latent + self.d_rope

    @property
    def token_bytes(self) -> int:
        """The last dimension of a cache tensor."""
        return self.row_bytes + self.tail_bytes

    def page_bytes(self, page_size: int) -> int:
        """Of a page of so many tokens: the least distance of two pages."""
        pages = -(-page_size * self.token_bytes // self.page_alignment)
        return pages * self.page_alignment


def formats() -> Dict[str, CacheFormat]:
    """The cache formats of bytes that this library reads and writes, by name. (Caches of float32,
    bfloat16 and float16 have these names and any number of columns.)"""
    return dict(_formats())


_by_name: Dict[str, CacheFormat] = {}
"""Filled when it is first asked for. No lru_cache: torch.compile warns of it."""


def _formats() -> Dict[str, CacheFormat]:
    if not _by_name:
        from seesaw._tables import FORMATS

        _by_name.update({cache_format.name: cache_format for cache_format in FORMATS})
    return _by_name


def format_of(where: str, name: object) -> Optional[CacheFormat]:
    """None: a dtype's, or not given."""
    found = _formats().get(name) if isinstance(name, str) else None
    if found is not None or name is None:
        return found
    from seesaw._fields import dtype_name
    from seesaw._tables import DTYPES

    if dtype_name(name) not in DTYPES:
        allowed = ", ".join(f'"{known}"' for known in formats())
        raise ValueError(
            f"{where}: kv_format = {name!r}, allowed: {allowed}, or a dtype's name. "
            "Choose one of them."
        )
    return None


def check_kv_scale(where: str, kv_format: object, prefix: str = "") -> None:
    """Refuses a scale of the whole cache for a format that has none. `prefix`: of the names."""
    cache_format = format_of(where, kv_format)
    if cache_format is None or not cache_format.tensor_scale:
        allowed = ", ".join(name for name, known in formats().items() if known.tensor_scale)
        raise ValueError(
            f"{where}: {prefix}kv_scale given with {prefix}kv_format = {kv_format!r}, allowed: "
            f"with {allowed}. Leave {prefix}kv_scale out."
        )


def empty_cache(kv_format: str, num_pages: int, page_size: int, *, like: Array) -> Array:
    """An uninitialised cache of bytes in a format: [num_pages, page_size, token_bytes] uint8, its
    pages as far apart as the format wants them.

    like: An array of the library, and on the device, that the cache is to be of. Not JAX, whose
        arrays have no strides: there, formats without padding fit in an array of zeros.

    Raises:
        ValueError, TypeError: An argument is malformed, or `like` is JAX's.
    """
    from seesaw._arrays import library_of
    from seesaw._fields import whole_number

    cache_format = format_of("empty_cache", kv_format)
    if cache_format is None:
        raise ValueError(
            f"empty_cache: kv_format = {kv_format!r}, allowed: a format of bytes (seesaw.formats). "
            "Allocate an array of that dtype, [num_pages, page_size, columns]."
        )
    num_pages = whole_number("empty_cache", "num_pages", num_pages, 0, _MOST)
    page_size = whole_number("empty_cache", "page_size", page_size, 1, _MOST)
    size = num_pages * cache_format.page_bytes(page_size)
    whole_number("empty_cache", "the size in bytes", size, 0, 2**62)
    arrays = library_of(like, "like", "empty_cache")
    arrays.check(like, "like", "empty_cache")
    token_bytes = cache_format.token_bytes
    pages = arrays.empty((num_pages, cache_format.page_bytes(page_size)), "uint8", like)
    packed = pages[:, : page_size * token_bytes]
    return packed.reshape(num_pages, page_size, token_bytes)
