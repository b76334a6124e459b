"""A layer's paged cache of latents, in PyTorch."""

from __future__ import annotations

from typing import Any, Callable, Dict, Hashable, Optional, Tuple

import torch

import seesaw
from seesaw._fields import dtype_name
from seesaw._formats import format_of
from seesaw._schedule import Schedule
from seesaw._tables import DenseDecodeProblem

_WHERE = "LatentCache"
_PLAIN = ("float32", "bfloat16", "float16")
_LEAST_PAGES = 4


class Step:
    """What the layers of one step share, each thing found by the first that asks: the places of new
    tokens, their slots and rotations, and a schedule.

    Attributes:
        lengths: [b] int32: tokens in the cache, the new ones included.
        longest: The most of them, as far as the host knows.
        positions: [b, s] or [1, s] int64: places of the new tokens; negative: not stored.
    """

    def __init__(self, lengths: torch.Tensor, longest: int, positions: torch.Tensor) -> None:
        self.lengths, self.longest, self.positions = lengths, longest, positions
        self._schedules: Dict[Tuple[Any, ...], Schedule] = {}
        self._slots: Dict[Tuple[int, int], torch.Tensor] = {}
        self._rotations: Dict[Hashable, Any] = {}

    def schedule(self, q: torch.Tensor, cache: LatentCache) -> Schedule:
        """Made by the first layer that asks; the others' shapes are its.

        q: The latent part of its queries [b, s, h, d_latent].
        """
        key = (q.shape, q.dtype, cache.kv_format, cache.pages.stride(), cache.block_table.shape)
        found = self._schedules.get(key)
        if found is None:
            problem = DenseDecodeProblem.of(
                q,
                cache.pages,
                cache.block_table,
                kv_format=cache.kv_format,
                causal=True,
                d_v=cache.d_latent,
                d_rope=cache.d_rope,
            )
            found = self._schedules[key] = seesaw.make_schedule(problem, self.lengths)
        return found

    def slots(self, cache: LatentCache) -> torch.Tensor:
        """Of the new tokens in a layer's cache: the same in all of one capacity."""
        key = (cache.batch, cache.capacity)
        if key not in self._slots:
            self._slots[key] = cache.slots_of(self.positions)
        return self._slots[key]

    def rotation(self, of: Hashable, make: Callable[[torch.Tensor], Any]) -> Any:
        """What `make` makes of the positions, for layers of the same rotary embedding."""
        if of not in self._rotations:
            self._rotations[of] = make(self.positions)
        return self._rotations[of]


class LatentCache:
    """Pages of the latents of one layer, for a batch of sequences that grow alone.

    Sequence i owns the pages block_table[i], one behind the other, so that its token t is slot
    `(i * pages of a sequence + t // page_size) * page_size + t % page_size`.

    Args:
        batch: Sequences. capacity: Tokens that each has room for; rounded up to whole pages, and
            enlarged by `append` where `grows`.
        d_latent, d_rope: Columns of a token.
        dtype: Of what is appended: float32, bfloat16 or float16.
        kv_format: Of `seesaw.formats()`, for caches of bytes; None: dtype's.
        page_size: Tokens of a page. Hopper's own kernel wants multiples of 64.
        device: Of the pages.
        grows: Whether more tokens than the capacity get a larger cache (pages move: not under
            a CUDA graph), or are refused.

    Attributes:
        pages: [batch * n, page_size, 1, columns], of dtype or uint8.
        block_table: [batch, n] int32.

    Raises:
        ValueError, TypeError: An argument is malformed, or the format has other columns.
    """

    def __init__(
        self,
        batch: int,
        capacity: int,
        d_latent: int,
        d_rope: int,
        *,
        dtype: torch.dtype,
        kv_format: Optional[str] = None,
        page_size: int = 64,
        device: Any = "cpu",
        grows: bool = True,
    ) -> None:
        if dtype_name(dtype) not in _PLAIN:
            raise TypeError(
                f"{_WHERE}: dtype = {dtype}, allowed: torch.float32, bfloat16, float16. "
                "Pass the dtype of the latents; kv_format says how they are stored."
            )
        for name, value, least in (("batch", batch, 1), ("capacity", capacity, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{_WHERE}: {name} = {value!r}, allowed: {least} or more. Correct its value."
                )
        known = format_of(_WHERE, kv_format)
        if known is not None and (known.d_latent, known.d_rope) != (d_latent, d_rope):
            fitting = [f.name for f in seesaw.formats().values() if f.d_latent == d_latent]
            raise ValueError(
                f"{_WHERE}: kv_format = {kv_format!r} of {known.d_latent} + {known.d_rope} columns "
                f"for latents of {d_latent} + {d_rope}, allowed: "
                f"{', '.join([*fitting, *_PLAIN])}. Choose one of them."
            )
        self.batch, self.d_latent, self.d_rope = batch, d_latent, d_rope
        self.dtype, self.page_size, self.grows = dtype, page_size, grows
        self.kv_format = known.name if known else kv_format or dtype_name(dtype)
        self._known = known
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._allocate(-(-capacity // page_size))

    def _allocate(self, pages_each: int) -> None:
        pages = self.batch * pages_each
        if self._known is None:
            shape = (pages, self.page_size, self.d_latent + self.d_rope)
            stored = getattr(torch, self.kv_format)
            self.pages = torch.empty(shape, dtype=stored, device=self._like.device)[:, :, None]
        else:
            made = seesaw.empty_cache(self.kv_format, pages, self.page_size, like=self._like)
            self.pages = made[:, :, None]
        ids = torch.arange(pages, dtype=torch.int32, device=self._like.device)
        self.block_table = ids.view(self.batch, pages_each)

    @property
    def capacity(self) -> int:
        """Tokens that each sequence has room for now."""
        return self.block_table.shape[1] * self.page_size

    @property
    def nbytes(self) -> int:
        """Of the pages."""
        return self.pages.shape[0] * self.pages.stride(0) * self.pages.element_size()

    def reserve(self, tokens: int) -> None:
        """Makes room for so many tokens of each sequence.

        Raises:
            ValueError: There is not, and the cache does not grow.
        """
        if tokens <= self.capacity:
            return
        if not self.grows:
            raise ValueError(
                f"{_WHERE}: {tokens} tokens of a sequence, allowed: {self.capacity}. Make the "
                "cache with a larger capacity, or with grows=True."
            )
        old, kept = self.pages, self.block_table.shape[1]
        needed = -(-tokens // self.page_size)
        self._allocate(max(needed, 2 * kept, _LEAST_PAGES))
        _by_sequence(self.pages, self.batch)[:, :kept] = _by_sequence(old, self.batch)

    def select(self, sequences: torch.Tensor) -> None:
        """Keeps these sequences, [any number] of indices, in this order; one may be there twice."""
        old, pages_each = _by_sequence(self.pages, self.batch), self.block_table.shape[1]
        chosen = sequences.to(old.device)
        self.batch = int(chosen.shape[0])
        self._allocate(pages_each)
        _by_sequence(self.pages, self.batch)[:] = old[chosen]

    def append(
        self, latent: torch.Tensor, rope: torch.Tensor, positions: torch.Tensor, most: int
    ) -> None:
        """Writes tokens.

        Args:
            latent: [batch, s, d_latent], after its norm. rope: [batch, s, d_rope], rotated.
            positions: [batch, s] or [1, s] int64: places in each sequence; a negative one is
                skipped.
            most: No position is as large.
        """
        self.reserve(most)
        self.append_to(latent, rope, self.slots_of(positions))

    def slots_of(self, positions: torch.Tensor) -> torch.Tensor:
        """[batch * s] int64: slots of places in each sequence, as long as the capacity is this."""
        # Sequences are as far apart as their capacity.
        rows = torch.arange(self.batch, device=positions.device)[:, None] * self.capacity
        return torch.where(positions < 0, positions, positions + rows).reshape(-1)

    def append_to(self, latent: torch.Tensor, rope: torch.Tensor, slots: torch.Tensor) -> None:
        """`append` to slots that `slots_of` has found, and that there is room for."""
        tokens = self.batch * latent.shape[1]
        k_rope = rope.detach().reshape(tokens, self.d_rope) if self.d_rope else None
        seesaw.append(
            latent.detach().reshape(tokens, self.d_latent),
            k_rope,
            slots,
            self.pages,
            kv_format=self.kv_format,
        )

    def rows(self, length: int) -> Tuple[torch.Tensor, torch.Tensor]:
        """The first tokens of every sequence: latents [batch, length, d_latent] and rotary keys
        [batch, length, d_rope], of dtype. Those behind a sequence's end hold anything."""
        if self._known is None and self.kv_format == dtype_name(self.dtype):
            columns = self.d_latent + self.d_rope
            found = self.pages.view(self.batch, self.capacity, columns)[:, :length]
        else:
            ends = torch.arange(self.batch + 1, dtype=torch.int32, device=self.pages.device)
            found = torch.empty(
                self.batch * length,
                self.d_latent + self.d_rope,
                dtype=self.dtype,
                device=self.pages.device,
            )
            seesaw.gather(
                self.pages,
                block_table=self.block_table,
                cu_seq_lens=ends * length,
                kv_format=self.kv_format,
                out=found,
            )
            found = found.view(self.batch, length, -1)
        return found[..., : self.d_latent], found[..., self.d_latent :]


def _by_sequence(pages: torch.Tensor, batch: int) -> torch.Tensor:
    """[batch, pages of a sequence, bytes or numbers of a page, scales behind its rows included]."""
    whole = pages.as_strided((pages.shape[0], pages.stride(0)), (pages.stride(0), 1))
    return whole.view(batch, -1, pages.stride(0))
