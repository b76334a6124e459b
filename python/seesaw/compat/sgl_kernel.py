"""sgl_kernel's functions that merge partial results, over Seesaw, for PyTorch tensors on GPUs and
on the CPU: SGLang's names and arguments, LSEs [t, h].

    from seesaw.compat import sgl_kernel

The first version's LSEs are to base 2, as FlashInfer's kernel behind it has them; those of
`merge_state_v2` are natural.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from seesaw._merge_states import merge_states
from seesaw.compat._refusals import require_torch

__all__ = ["merge_state", "merge_state_v2"]


def merge_state(
    v_a: Any,
    s_a: Any,
    v_b: Any,
    s_b: Any,
    v_merged: Optional[Any] = None,
    s_merged: Optional[Any] = None,
) -> Tuple[Any, Any]:
    """(v [t, h, d], s [t, h]) of two partial results, LSEs to base 2."""
    return _merge("merge_state", 2, v_a, s_a, v_b, s_b, v_merged, s_merged)


def merge_state_v2(
    v_a: Any,
    s_a: Any,
    v_b: Any,
    s_b: Any,
    v_merged: Optional[Any] = None,
    s_merged: Optional[Any] = None,
) -> Tuple[Any, Any]:
    """(v [t, h, d], s [t, h]) of two partial results, LSEs natural."""
    return _merge("merge_state_v2", "e", v_a, s_a, v_b, s_b, v_merged, s_merged)


def _merge(
    where: str, base: Any, v_a: Any, s_a: Any, v_b: Any, s_b: Any, v_merged: Any, s_merged: Any
) -> Tuple[Any, Any]:
    require_torch(where, "v_a", v_a)
    return merge_states(
        [v_a, v_b],
        [s_a.float(), s_b.float()],
        lse_layout="th",
        lse_base=base,
        out=v_merged,
        lse=s_merged,
    )
