"""FlashInfer's functions that touch an MLA cache or merge partial results, over Seesaw, for PyTorch
tensors on GPUs and on the CPU: its names and arguments, LSEs [t, h] to base 2.

    from seesaw.compat import flashinfer

Everything is asynchronous on the current stream and capturable in a CUDA graph. What is not covered
is refused by name.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from seesaw._append import append
from seesaw._merge_states import merge_states as merge_parts
from seesaw.compat._refusals import not_covered, require_rank, require_torch

__all__ = ["append_paged_mla_kv_cache", "merge_state", "merge_state_in_place", "merge_states"]


def append_paged_mla_kv_cache(
    append_ckv: Any,
    append_kpe: Any,
    batch_indices: Any,
    positions: Any,
    ckv_cache: Any,
    kpe_cache: Any,
    kv_indices: Any,
    kv_indptr: Any,
    kv_last_page_len: Any,
) -> None:
    """Writes append_ckv [n, 512] and append_kpe [n, 64] to two caches, ckv_cache [num_pages,
    page_size, 512] and kpe_cache [num_pages, page_size, 64], which may be columns of one.

    Token i is number positions[i] of sequence batch_indices[i], whose pages are kv_indices from
    kv_indptr[batch_indices[i]] on. Where batch_indices[i] < 0, nothing is written.
    kv_last_page_len is not read: the positions say the same.
    """
    where = "append_paged_mla_kv_cache"
    require_torch(where, "append_ckv", append_ckv)
    require_rank(where, "ckv_cache", ckv_cache, "[num_pages, page_size, d_latent]")
    require_rank(where, "kpe_cache", kpe_cache, "[num_pages, page_size, d_rope]")
    page_size = ckv_cache.shape[1]
    sequence = batch_indices.long().clamp(min=0)
    place = positions.long()
    page = kv_indices.long()[kv_indptr.long()[sequence] + place // page_size]
    slots = (page * page_size + place % page_size).masked_fill(batch_indices < 0, -1)
    append(append_ckv, None, slots, ckv_cache)
    append(append_kpe, None, slots, kpe_cache)


def merge_state(v_a: Any, s_a: Any, v_b: Any, s_b: Any) -> Tuple[Any, Any]:
    """(v [t, h, d], s [t, h]) of two partial results, LSEs to base 2."""
    require_torch("merge_state", "v_a", v_a)
    return merge_parts([v_a, v_b], [s_a.float(), s_b.float()], lse_layout="th", lse_base=2)


def merge_state_in_place(
    v: Any, s: Any, v_other: Any, s_other: Any, mask: Optional[Any] = None
) -> None:
    """The same, into v and s."""
    where = "merge_state_in_place"
    require_torch(where, "v", v)
    if mask is not None:
        not_covered(where, "mask given", "None", "Merge the rows that are wanted.")
    merge_parts([v, v_other], [s, s_other], lse_layout="th", lse_base=2, out=v, lse=s)


def merge_states(v: Any, s: Any) -> Tuple[Any, Any]:
    """(v [t, h, d], s [t, h]) of n partial results, v [t, n, h, d] and s [t, n, h], to base 2."""
    require_torch("merge_states", "v", v)
    require_rank("merge_states", "v", v, "[t, n, h, d]")
    require_rank("merge_states", "s", s, "[t, n, h]")
    if v.shape[1] == 1:
        return v[:, 0].clone(), s[:, 0].float().clone()
    return merge_parts(v.transpose(0, 1), s.float().transpose(0, 1), lse_layout="th", lse_base=2)
