"""Scheduling metadata in FlashMLA's two forms.

FlashMLA's metadata is made before the page size is known, so Seesaw cannot plan with it. Here it
is an identity instead: the first call that brings it makes the schedule, and the calls of the
other layers, which bring the same metadata, find it again.
"""

from __future__ import annotations

import weakref
from typing import Any, Dict, Optional, Sequence, Tuple

from seesaw._arrays import library_of
from seesaw._fields import Operation
from seesaw._keys import Key
from seesaw._library import library
from seesaw._schedule import Schedule
from seesaw._tables import DENSE_DECODE

_TILE_ROWS = 64
_METADATA_COLUMNS = 8
"""Of FlashMLA's tile_scheduler_metadata."""


class FlashMLASchedMeta:
    """The current form: empty until the first call fills it; then good for calls of the same
    shapes and the same cache_seqlens, or topk_length and extra_topk_length."""

    __slots__ = ("_planned_for", "float32", "num_splits", "schedule", "tile_scheduler_metadata")

    def __init__(self) -> None:
        self.schedule: Optional[Schedule] = None
        self._planned_for = (0, False)  # (d_v, causal) of the first call
        self.tile_scheduler_metadata: Any = None
        self.num_splits: Any = None
        self.float32: Any = None  # an empty tensor, to allocate others like it in the least time

    @property
    def have_initialized(self) -> bool:
        return self.schedule is not None

    def fill(
        self,
        key: Key,
        lengths: Sequence[Any],
        head_dim_v: int,
        causal: bool,
        operation: Operation = DENSE_DECODE,
    ) -> Schedule:
        """lengths: What the operation's schedules are made from."""
        self.schedule = Schedule(key, lengths[0], operation).update(*lengths)
        self.schedule.d_v = head_dim_v
        self._planned_for = (head_dim_v, causal)
        import torch

        self.float32 = lengths[0].new_empty(0, dtype=torch.float32)
        self.tile_scheduler_metadata = self.schedule.buffer
        return self.schedule

    def schedule_again(
        self, head_dim_v: int, causal: bool, operation: Operation = DENSE_DECODE
    ) -> Optional[Schedule]:
        """The schedule of the first call; None before that. Shapes, strides, dtypes and devices are
        held against its problem by the library itself."""
        schedule = self.schedule
        if schedule is not None and schedule.operation is not operation:
            raise ValueError(
                f"flash_mla_with_kvcache: a FlashMLASchedMeta of {schedule.operation.name}, "
                f"allowed: one of {operation.name}. Get another from get_mla_metadata()."
            )
        if schedule is not None and (head_dim_v, causal) != self._planned_for:
            names = ("d_v", "causal")
            for name, given, agreed in zip(names, (head_dim_v, causal), self._planned_for):
                if given != agreed:
                    raise ValueError(
                        f"flash_mla_with_kvcache: {name} = {given}, allowed: {agreed}, as in the "
                        "call that filled this FlashMLASchedMeta. "
                        "Get another from get_mla_metadata()."
                    )
        return schedule


def get_mla_metadata(
    cache_seqlens: Any = None,
    num_q_tokens_per_head_k: int = 1,
    num_heads_k: int = 1,
    num_heads_q: Optional[int] = None,
    is_fp8_kvcache: bool = False,
    topk: Optional[int] = None,
) -> Tuple[Any, Any]:
    """Metadata for `flash_mla_with_kvcache`.

    Without arguments: (FlashMLASchedMeta, None). With `cache_seqlens` [b] int32:
    (tile_scheduler_metadata [num_sm_parts, 8] int32, num_splits [b + 1] int32), of FlashMLA's
    shapes, to be passed on as they are; what they hold is not FlashMLA's.
    """
    if cache_seqlens is None:
        return FlashMLASchedMeta(), None
    library_of(cache_seqlens, "cache_seqlens")
    tiles = -(-num_q_tokens_per_head_k // _TILE_ROWS)
    num_sm_parts = max(_num_units(cache_seqlens) // num_heads_k // tiles, 1)
    return (
        cache_seqlens.new_zeros((num_sm_parts, _METADATA_COLUMNS)),
        cache_seqlens.new_zeros(cache_seqlens.shape[0] + 1),
    )


def _num_units(tensor: Any) -> int:
    if tensor.device.type != "cuda":
        return library.max_threads
    import torch

    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


class PairedSchedules:
    """Schedules of the older form, by the metadata tensor they were first brought with.

    A tensor that was written to since (engines copy metadata into fixed buffers every step) is
    metadata of another step. Where that cannot be known, each call makes a schedule of its own: in
    a CUDA graph, which has to schedule the lengths of each replay, and for inference tensors,
    which do not count writes.
    """

    def __init__(self) -> None:
        self._entries: Dict[int, Tuple[Any, ...]] = {}

    def find(
        self, metadata: Any, cache_seqlens: Any, head_dim_v: int, causal: bool
    ) -> Optional[Schedule]:
        """The schedule that this metadata brought last, if it is still that of these lengths. That
        the tensors are of its problem, the library checks."""
        entry = self._entries.get(id(metadata))
        if entry is None:
            return None
        owner, version, lengths, lengths_version, planned_for, schedule = entry
        known = (
            owner() is metadata  # and so no inference tensor, which has no version
            and lengths() is cache_seqlens
            and version == metadata._version
            and lengths_version == cache_seqlens._version
            and planned_for == (head_dim_v, causal)
            and not (metadata.is_cuda and _is_capturing())
        )
        return schedule if known else None

    def make(
        self, metadata: Any, cache_seqlens: Any, head_dim_v: int, causal: bool, key: Key
    ) -> Optional[Schedule]:
        """The schedule of this metadata from now on, or None: the call makes one of its own."""
        if not _writes_show(metadata, cache_seqlens):
            return None
        owner_id = id(metadata)
        schedule = Schedule(key, cache_seqlens).update(cache_seqlens)
        self._entries[owner_id] = (
            weakref.ref(metadata, lambda _: self._entries.pop(owner_id, None)),
            metadata._version,
            weakref.ref(cache_seqlens),
            cache_seqlens._version,
            (head_dim_v, causal),
            schedule,
        )
        return schedule


def _writes_show(metadata: Any, cache_seqlens: Any) -> bool:
    """Whether a write to these tensors since their schedule was made would be noticed."""
    if metadata.is_inference() or cache_seqlens.is_inference():
        return False
    return not (metadata.is_cuda and _is_capturing())


def _is_capturing() -> bool:
    import torch

    return torch.cuda.is_current_stream_capturing()
