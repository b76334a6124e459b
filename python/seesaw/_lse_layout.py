"""Layouts of lse and max_logits: the library's own has heads first, engines keep tokens first."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

from seesaw._arrays import Array, ArrayLibrary, library_of

_LAYOUTS = {False: ("bhs", "bsh"), True: ("ht", "th")}
"""Of queries that are not ragged, and that are: heads first, tokens first."""


def is_tokens_first(lse_layout: str, ragged: bool) -> bool:
    layouts = _LAYOUTS[ragged]
    if not isinstance(lse_layout, str) or lse_layout not in layouts:
        allowed = '", "'.join(layouts)
        raise ValueError(
            f'dense_decode: lse_layout = {lse_layout!r}, allowed: "{allowed}" '
            f"{'with' if ragged else 'without'} cu_seqlens_q. Choose one of them."
        )
    return lse_layout == layouts[1]


def with_tokens_first(
    decode: Callable[..., Tuple[Array, ...]],
    arrays: ArrayLibrary,
    q: Array,
    shape: Tuple[int, ...],
    lse: Optional[Array],
    max_logits: Optional[Array],
) -> Tuple[Array, ...]:
    """What `decode` returns, its lse and max_logits with tokens first.

    decode: dense_decode with all but these two, which it is given as views with heads first.
    shape: Of these views.
    lse, max_logits: With tokens first; None: not given.
    """
    *batch, heads, tokens = shape
    turned = (*batch, tokens, heads)
    for name, array in (("lse", lse), ("max_logits", max_logits)):
        if array is not None:
            _require_shape(array, name, turned)
    if lse is None and arrays.name != "jax":  # whose arrays are not written but made
        lse = arrays.empty(turned, "float32", q)
    made = decode(lse=_turn(lse), max_logits=_turn(max_logits))
    numbers = zip((lse, max_logits), made[1:])
    return (made[0], *(_turn(theirs) if mine is None else mine for mine, theirs in numbers))


def _turn(array: Any) -> Any:
    return None if array is None else array.swapaxes(-2, -1)


def _require_shape(array: Array, name: str, wanted: Tuple[int, ...]) -> None:
    library_of(array, name)
    if tuple(array.shape) != wanted:
        raise ValueError(
            f"dense_decode: {name} has shape {list(array.shape)}, allowed: {list(wanted)} with "
            "this lse_layout. Reshape the array."
        )
