"""Writing to a paged cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from seesaw._arrays import Array, ArrayLibrary, library_of, one_number
from seesaw._call import run
from seesaw._formats import check_kv_scale
from seesaw._keys import Key, known_settings_key, settings_key
from seesaw._tables import APPEND, OptionSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

_RULES = ("power_of_two", "exact")


def append(
    c_kv: Array,
    k_rope: Optional[Array],
    slot_mapping: Array,
    kv_cache: Array,
    *,
    kv_format: Optional[str] = None,
    scales: Any = "power_of_two",
    rotary: Optional[str] = None,
    positions: Optional[Array] = None,
    cos_sin: Optional[Array] = None,
    q_rope: Optional[Array] = None,
    kv_scale: Optional[Array] = None,
    saturated: Optional[Array] = None,
    **options: Unpack[OptionSettings],
) -> Array:
    """Appends tokens to a paged cache, in any format.

        page slot // page_size, place slot % page_size:  the record of (c_kv[i], rotated k_rope[i])

    for token i with slot = slot_mapping[i]; a negative slot is skipped. Nothing else of the cache
    is written. Slots that are not negative must differ. Same inputs, same bits. On a GPU:
    asynchronous on the current stream of the array library, no synchronisation, capturable in a
    CUDA graph; slots behind the cache are skipped there, and refused with `check_data`. On the CPU
    they are refused, and then nothing is written. (DeepSeek-V2, arXiv:2405.04434, section 2.1;
    rotary embedding: arXiv:2104.09864; docs/cache-formats.md for formats, scales and rounding.)

    Args:
        c_kv: [t, d_latent] float32, bfloat16 or float16: the latents.
        k_rope: [t, d_rope] as c_kv: the rotary keys. None: the record has no such part.
        slot_mapping: [t] int64: page * page_size + place of each token; negative: the token is
            skipped. The others must differ.
        kv_cache: [num_pages, page_size, columns] float32, bfloat16 or float16; or of bytes (uint8,
            or int8 or float8_e4m3fn, taken as bytes), [num_pages, page_size, token bytes], with
            kv_format. It may have a dimension of 1 for its head, [num_pages, page_size, 1, ...].
            Written in place.
        kv_format: Of `seesaw.formats()`; needed for bytes.
        scales: Of formats with scales. "power_of_two": the least power of two with which no value
            is too large; "exact": greatest magnitude / largest number, as vLLM writes; or an array
            [t, scales of a token] float32, positive and finite, with which values may saturate.
        rotary: None: k_rope comes rotated. "interleaved": columns 2i and 2i + 1 turn together, as
            in DeepSeek's own code; "half_split": i and i + d_rope / 2 ("neox").
        positions: [t] int64: rows of cos_sin; with rotary.
        cos_sin: [max_position, d_rope] float32, bfloat16 or float16: the cosines of d_rope / 2
            frequencies, then their sines; with rotary.
        q_rope: [t, h_q, d_rope] as c_kv: rotated in place, also of tokens that are skipped; with
            rotary. None: not wanted.
        kv_scale: [1] float32, in the memory of the others: what is stored is divided by it, in
            formats of one scale (fp8_576). None: 1.
        saturated: [1] int64: grows by the number of values that were too large for their scale.
            None: not counted.
        options: num_threads, check_data, kernel, ... of `Options`.

    Returns:
        kv_cache. JAX arrays are immutable: there it is a new one, which under `jax.jit` with the
        old one donated has its memory. `seesaw.jax.append` returns q_rope and saturated, too.

    Raises:
        ValueError, TypeError: An argument is malformed; the cache is as it was.
        NotImplementedError: No kernel of this build runs the problem here.
        RuntimeError: The CUDA driver failed, or the library did.
    """
    arrays = library_of(c_kv, "c_kv", "append")
    rule, given_scales = read_scales(scales)
    if kv_scale is not None:
        check_kv_scale("append", kv_format)
    if rotary is None:
        _refuse_rotary(positions=positions, cos_sin=cos_sin, q_rope=q_rope)
    named = {
        "c_kv": c_kv,
        "k_rope": k_rope,
        "slot_mapping": slot_mapping,
        "kv_cache": kv_cache,
        "kv_scale": one_number(kv_scale),
        "scales": given_scales,
        "positions": positions,
        "cos_sin": cos_sin,
        "q_rope": q_rope,
        "saturated": one_number(saturated),
    }
    settings = {"kv_format": kv_format, "scales": rule, "rotary": rotary, **options}
    tensors = tuple(named[arg.name] for arg in APPEND.args)
    traces = arrays.traces_calls
    if traces is not None and traces():
        written = arrays.tracer().record_append(tensors, settings)
        return kv_cache if written is None else written
    run_append(arrays, tensors, settings)
    return kv_cache


def _refuse_rotary(**given: Optional[Array]) -> None:
    for name, array in given.items():
        if array is not None:
            raise ValueError(
                f"append: {name} without rotary, allowed: with it, as nothing is rotated. "
                "Say which columns turn together, or leave it out."
            )


def read_scales(scales: Any) -> Tuple[str, Optional[Array]]:
    """(rule, scales that are given)"""
    if isinstance(scales, str):
        if scales not in _RULES:
            raise ValueError(
                f'append: scales = "{scales}", allowed: "power_of_two", "exact", or an array. '
                "Choose one of them."
            )
        return scales, None
    library_of(scales, "scales", "append")
    return "given", scales


def append_key(has_rope: bool, settings: Dict[str, Any]) -> Key:
    more = settings if has_rope else {"d_rope": -1, **settings}
    try:
        return known_settings_key(APPEND, **more)
    except TypeError:
        return settings_key(APPEND, **more)


_K_ROPE = next(i for i, arg in enumerate(APPEND.args) if arg.name == "k_rope")
_WRITTEN = tuple(i for i, arg in enumerate(APPEND.args) if arg.use != "in")


def run_append(arrays: ArrayLibrary, tensors: Tuple[Any, ...], settings: Dict[str, Any]) -> None:
    """`tensors`: in the order of the operation's table."""
    key = append_key(tensors[_K_ROPE] is not None, settings)
    written = [tensors[i] for i in _WRITTEN if tensors[i] is not None]
    run(APPEND, arrays, key, tensors, given_outputs=written)
