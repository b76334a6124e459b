"""Merging partial results of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence, Tuple, Union

from seesaw._arrays import Array, library_of
from seesaw._call import run
from seesaw._keys import known_settings_key, settings_key
from seesaw._tables import MERGE_STATES, MergeStatesSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

MOST_PARTS = next(field.most for field in MERGE_STATES.problem if field.name == "num_parts")

_RANKS = {"th": 3, "ht": 3, "bhs": 4, "bsh": 4}
"""Of a partial result, by the layout of its LSE."""

_AS_BSH: Dict[str, Callable[[Any], Any]] = {
    "th": lambda lse: lse[:, None, :],
    "ht": lambda lse: lse.swapaxes(0, 1)[:, None, :],
    "bhs": lambda lse: lse.swapaxes(1, 2),
    "bsh": lambda lse: lse,
}
"""A view of an LSE as the library has it, [b, s, h]."""


def merge_states(
    outs: Union[Array, Sequence[Array]],
    lses: Union[Array, Sequence[Array]],
    *,
    lse_layout: str,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    **settings: Unpack[MergeStatesSettings],
) -> Tuple[Array, Array]:
    """Merges partial results over disjoint keys into the result over all of them.

        out = sum_i weight_i outs[i] / sum_i weight_i,  weight_i = exp(lses[i] - max lse)
        lse = max lse + log(sum_i weight_i)

    A part whose LSE is infinite, of either sign, attended nothing there and is not read; where all
    are, out is 0. NaN stays NaN. On a GPU: one launch on the current stream of the array library,
    asynchronous, no synchronisation, capturable in a CUDA graph. Same inputs, same bits.
    Thread-safe. (Milakov and Gimelshein, arXiv:1805.02867, section 3.1.)

    Args:
        outs: 2 to 64 arrays float32, bfloat16 or float16, [tokens, h, d_v], or [b, s_q, h, d_v] as
            `dense_decode` writes them; or one array of them, stacked in front: [n, tokens, h, d_v].
            Not JAX's.
        lses: As many arrays float32, laid out as `lse_layout` says; or one, stacked in front.
        lse_layout: "th": [tokens, h], as in SGLang and FlashInfer; "ht": [h, tokens], as in vLLM;
            "bhs": [b, h, s_q], as `dense_decode` writes them; "bsh": [b, s_q, h]. Any strides.
        out: As one of outs; may be one of them. None: allocated.
        lse: As one of lses; may be one of them. None: allocated.
        settings: lse_base ("e" if left out; FlashInfer's is 2) and empty_lse of the problem;
            num_threads, kernel, ... of `Options`.

    Returns:
        (out, lse).

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
        RuntimeError: The CUDA driver failed, or the library did.
    """
    rank = _RANKS.get(lse_layout) if isinstance(lse_layout, str) else None
    if rank is None:
        raise ValueError(
            f'merge_states: lse_layout = {lse_layout!r}, allowed: "th", "ht", "bhs", "bsh". '
            "Choose one of them."
        )
    outs, lses = unstack(outs), unstack(lses)
    for name, parts in (("outs", outs), ("lses", lses)):
        if not isinstance(parts, (list, tuple)):
            raise TypeError(
                f"merge_states: {name} of type {type(parts).__name__}, allowed: a list or a tuple "
                "of arrays, or one array of them. Pass one array a partial result."
            )
    if len(outs) != len(lses) or not 2 <= len(outs) <= 64:
        raise ValueError(
            f"merge_states: {len(outs)} outs and {len(lses)} lses, allowed: 2 to 64 of each. "
            "Pass one LSE a partial result."
        )
    arrays = library_of(outs[0], "outs", "merge_states")
    if arrays.name == "jax":
        arrays.tracer().record_merge(outs, {})
    for name, given, wanted in (("outs", outs, rank), ("lses", lses, rank - 1)):
        for array in given:
            library_of(array, name, "merge_states")
            if len(array.shape) != wanted:
                raise ValueError(
                    f"merge_states: {name} has rank {len(array.shape)}, allowed: {wanted} with "
                    f'lse_layout "{lse_layout}". Reshape the array.'
                )
    if out is None:
        out = arrays.empty(tuple(outs[0].shape), "like", outs[0])
    if lse is None:
        lse = arrays.empty(tuple(lses[0].shape), "float32", outs[0])
    for name, array, wanted in (("out", out, rank), ("lse", lse, rank - 1)):
        library_of(array, name, "merge_states")
        if len(array.shape) != wanted:
            raise ValueError(
                f"merge_states: {name} has rank {len(array.shape)}, allowed: {wanted} with "
                f'lse_layout "{lse_layout}". Reshape the array.'
            )
    as_bsh = _AS_BSH[lse_layout]
    as_bshd = (lambda part: part[:, None]) if rank == 3 else (lambda part: part)
    tensors = (
        [as_bshd(part) for part in outs],
        [as_bsh(part) for part in lses],
        as_bshd(out),
        as_bsh(lse),
    )
    traces = arrays.traces_calls
    if traces is not None and traces():
        arrays.tracer().record_merge(tensors, settings)
        return out, lse
    try:
        key = known_settings_key(MERGE_STATES, num_parts=len(outs), **settings)
    except TypeError:
        key = settings_key(MERGE_STATES, num_parts=len(outs), **settings)
    run(MERGE_STATES, arrays, key, tensors, given_outputs=tensors[2:])
    return out, lse


def unstack(parts: Any) -> Any:
    """The arrays of one that has them stacked in front; anything else as it is."""
    shape = getattr(parts, "shape", None)
    if not shape:
        return parts
    return [parts[i] for i in range(min(shape[0], MOST_PARTS + 1))]
