"""Cache formats in NumPy, from their published descriptions: the tests' second opinion, which
shares no code, no table and no arithmetic with the library.

Sources: FlashMLA, tests/quant.py and README (656 and 584 bytes a token); SGLang, store.cuh of its
DeepSeek-V4 kernels (584), KVLayoutTraits (528, 288); vLLM, csrc/cache_kernels.cu (656, the
indexer's 132). e4m3: OFP8 (arXiv:2209.05433). e2m1, e8m0: OCP Microscaling Formats 1.0.
"""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

# Elements: a table of what each code means, and the nearest code of a number.


def _e4m3_table():
    codes = np.arange(128)
    exponent, fraction = codes >> 3, codes & 7
    normal = (8 + fraction) * 2.0 ** (exponent - 10.0)
    table = np.where(exponent == 0, fraction * 2.0**-9, normal)
    table[127] = np.nan
    return np.concatenate([table, -table])


def _e2m1_table():
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    return np.concatenate([table, -table])


TABLES = {
    "e4m3": _e4m3_table(),
    "e2m1": _e2m1_table(),
    "e8m0": np.append(2.0 ** (np.arange(255) - 127.0), np.nan),
}
LARGEST = {"e4m3": 448.0, "e2m1": 6.0, "int8": 127.0}


def nearest(values, kind):
    """Codes of float32 values: nearest, ties to the even code, beyond the largest the largest. NaN
    is e4m3's 127 with the sign, and 0 in types that have none."""
    values = np.asarray(values, np.float32)
    size = np.abs(values.astype(np.float64))
    if kind == "int8":
        steps = np.arange(128.0)
    else:
        steps = TABLES[kind][: 127 if kind == "e4m3" else 8]
    middles = (steps[1:] + steps[:-1]) / 2
    code = np.searchsorted(middles, np.nan_to_num(size, nan=0, posinf=1e300), side="left")
    on_middle = (code < len(middles)) & (size == middles[np.minimum(code, len(middles) - 1)])
    code = code + (on_middle & (code % 2 == 1))
    nan = np.isnan(values)
    if kind == "int8":
        return np.where(np.signbit(values), -code, code).astype(np.int8).view(np.uint8)
    sign_bit = 128 if kind == "e4m3" else 8
    code = np.where(nan, 127 if kind == "e4m3" else 0, code)
    return (code + sign_bit * np.signbit(values)).astype(np.uint8)


def numbers(codes, kind):
    """What codes mean, in float64."""
    if kind == "int8":
        return codes.view(np.int8).astype(np.float64)
    if kind == "float32":
        return np.ascontiguousarray(codes).view(np.float32).astype(np.float64)
    if kind == "bfloat16":
        wide = np.ascontiguousarray(codes).view(np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).astype(np.float64)
    if kind == "e2m1":
        pairs = np.stack([codes & 15, codes >> 4], axis=-1)
        return TABLES["e2m1"][pairs.reshape(*codes.shape[:-1], -1)]
    return TABLES[kind][codes]


def bfloat16_bits(values):
    """Of float32 values, rounded to nearest even; NaN keeps its sign and becomes quiet."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def element_bytes(values, kind):
    """[t, count] float32 as bytes [t, ...]."""
    if kind == "bfloat16":
        return bfloat16_bits(values).view(np.uint8).reshape(len(values), -1)
    codes = nearest(values, kind)
    return codes[:, 0::2] | codes[:, 1::2] << 4 if kind == "e2m1" else codes


# Scales.


def scale_of(greatest, kind, stored, rule):
    """The least stored scale with which the greatest magnitude of a group is not too large, as
    (bytes [..., size], float32 number)."""
    exact = np.maximum(
        np.asarray(greatest, np.float32) / np.float32(LARGEST[kind]), np.float32(2.0**-126)
    )
    if rule == "power_of_two":
        fraction, exponent = np.frexp(exact.astype(np.float64))
        exact = np.ldexp(1.0, exponent - (fraction == 0.5)).astype(np.float32)
    return stored_scale(exact, stored)


def stored_scale(scale, stored):
    scale = np.asarray(scale, np.float32)
    if stored == "float32":
        return np.ascontiguousarray(scale)[..., None].view(np.uint8), scale
    codes = TABLES[stored][: 255 if stored == "e8m0" else 127]
    first = 0 if stored == "e8m0" else 1  # e4m3's zero is no scale
    code = first + np.searchsorted(codes[first:], scale.astype(np.float64), side="left")
    code = np.minimum(code, len(codes) - 1)
    return code[..., None].astype(np.uint8), codes[code].astype(np.float32)


NAN_SCALE = {
    "float32": np.array([0x7FC00000], np.uint32).view(np.uint8),
    "e8m0": np.array([255], np.uint8),
    "e4m3": np.array([127], np.uint8),
}


@dataclass(frozen=True)
class Model:
    """Where the parts of a token stand: (type, count, first byte in its row or tail)."""

    name: str
    latent: Tuple[str, int, int]
    rope: Optional[Tuple[str, int, int]]
    scales: Optional[Tuple[str, int, int]]
    scales_in_tail: bool
    group: int
    scaled: int
    row: int
    tail: int
    multiple: int
    per_tensor: bool = False

    @property
    def d_latent(self):
        return self.latent[1]

    @property
    def d_rope(self):
        return self.rope[1] if self.rope else 0

    @property
    def columns(self):
        return self.d_latent + self.d_rope

    @property
    def token(self):
        return self.row + self.tail

    def page_bytes(self, page_size):
        return -(-page_size * self.token // self.multiple) * self.multiple

    def encode(self, values, rule="power_of_two", given=None, kv_scale=1.0):
        """(rows [t, row], tails [t, tail], written bytes of both as masks, saturated values) of
        float32 values [t, columns]."""
        values = np.asarray(values, np.float32)
        tokens = len(values)
        divisor = np.full(values.shape, np.float32(kv_scale if self.per_tensor else 1))
        parts = np.zeros((tokens, self.token), np.uint8)
        written = np.zeros(self.token, bool)
        if self.scales:
            kind, count, at = self.scales
            grouped = values[:, : self.scaled].reshape(tokens, count, self.group)
            size = np.abs(np.where(np.isfinite(grouped), grouped, 0)).max(-1)
            if rule == "given":
                stored, scale = stored_scale(given, kind)
            else:
                stored, scale = scale_of(size, self.latent[0], kind, rule)
            if self.latent[0] != "e4m3":  # its element has no NaN: the scale says it
                lost = np.isnan(grouped).any(-1)
                stored = np.where(lost[..., None], NAN_SCALE[kind], stored)
                scale = np.where(lost, np.float32(np.nan), scale)
            divisor[:, : self.scaled] = np.repeat(scale, self.group, axis=1)
            begin = at + (self.row if self.scales_in_tail else 0)
            stored = stored.reshape(tokens, -1)
            parts[:, begin : begin + stored.shape[1]] = stored
            written[begin : begin + stored.shape[1]] = True
        with np.errstate(over="ignore", invalid="ignore"):
            quotient = values / divisor
        saturated = 0
        first = 0
        for part in (self.latent, self.rope):
            if part is None:
                continue
            kind, count, at = part
            mine = quotient[:, first : first + count]
            stored = element_bytes(mine, kind)
            parts[:, at : at + stored.shape[1]] = stored
            written[at : at + stored.shape[1]] = True
            first += count
            limit = {"e4m3": 464.0, "e2m1": 7.0, "int8": 127.5, "bfloat16": np.inf}[kind]
            size = np.abs(mine)
            saturated += int(np.sum(size > limit if kind == "e4m3" else size >= limit))
            if kind == "bfloat16":
                saturated -= int(np.sum(np.isinf(mine)))
        return parts, written, saturated

    def decode(self, parts, kv_scale=1.0):
        """Numbers [t, columns] in float64, of records [t, row + tail]."""
        values = []
        for part in (self.latent, self.rope):
            if part is not None:
                kind, count, at = part
                size = {"bfloat16": 2 * count, "e2m1": count // 2}.get(kind, count)
                values.append(numbers(np.ascontiguousarray(parts[:, at : at + size]), kind))
        values = np.concatenate(values, axis=1)
        if self.scales:
            kind, count, at = self.scales
            begin = at + (self.row if self.scales_in_tail else 0)
            size = 4 * count if kind == "float32" else count
            scale = numbers(np.ascontiguousarray(parts[:, begin : begin + size]), kind)
            with np.errstate(invalid="ignore"):
                values[:, : self.scaled] *= np.repeat(scale, self.group, axis=1)
        return values * np.float64(np.float32(kv_scale)) if self.per_tensor else values


MODELS = {
    model.name: model
    for model in (
        Model(
            "fp8_656",
            ("e4m3", 512, 0),
            ("bfloat16", 64, 528),
            ("float32", 4, 512),
            scales_in_tail=False,
            group=128,
            scaled=512,
            row=656,
            tail=0,
            multiple=1,
        ),
        Model(
            "fp8_584",
            ("e4m3", 448, 0),
            ("bfloat16", 64, 448),
            ("e8m0", 7, 0),
            scales_in_tail=True,
            group=64,
            scaled=448,
            row=576,
            tail=8,
            multiple=576,
        ),
        Model(
            "fp8_576",
            ("e4m3", 512, 0),
            ("e4m3", 64, 512),
            None,
            scales_in_tail=False,
            group=1,
            scaled=0,
            row=576,
            tail=0,
            multiple=1,
            per_tensor=True,
        ),
        Model(
            "fp8_576_token",
            ("e4m3", 512, 0),
            ("e4m3", 64, 512),
            ("float32", 1, 0),
            scales_in_tail=True,
            group=576,
            scaled=576,
            row=576,
            tail=4,
            multiple=1,
        ),
        Model(
            "fp8_528",
            ("e4m3", 448, 0),
            ("e4m3", 64, 448),
            ("e8m0", 16, 0),
            scales_in_tail=True,
            group=32,
            scaled=512,
            row=512,
            tail=16,
            multiple=512,
        ),
        Model(
            "fp4_288",
            ("e2m1", 448, 0),
            ("e2m1", 64, 224),
            ("e4m3", 32, 0),
            scales_in_tail=True,
            group=16,
            scaled=512,
            row=256,
            tail=32,
            multiple=512,
        ),
        Model(
            "indexer_132",
            ("e4m3", 128, 0),
            None,
            ("float32", 1, 0),
            scales_in_tail=True,
            group=128,
            scaled=128,
            row=128,
            tail=4,
            multiple=1,
        ),
        Model(
            "int8_644",
            ("int8", 512, 0),
            ("bfloat16", 64, 512),
            ("float32", 1, 0),
            scales_in_tail=True,
            group=512,
            scaled=512,
            row=640,
            tail=4,
            multiple=1,
        ),
    )
}


class Pool:
    """A paged cache of bytes with room between its parts, filled with poison: what an engine's
    allocator leaves there. `view` is the tensor, `slots` finds records in it."""

    def __init__(self, model, num_pages, page_size, extra_page=0, extra_row=0, poison=0xFF):
        self.model, self.page_size = model, page_size
        self.row_stride = model.row + (extra_row if model.tail == 0 else 0)
        size = page_size * self.row_stride if model.tail == 0 else model.page_bytes(page_size)
        self.pages = np.full((num_pages, size + extra_page), poison, np.uint8)
        used = self.pages[:, : page_size * (model.token if model.tail else self.row_stride)]
        rows = used.reshape(num_pages, page_size, -1)
        self.view = rows if model.tail else rows[:, :, : model.row]
        assert np.shares_memory(self.view, self.pages)

    def _bytes_of(self, slot):
        page, place = divmod(int(slot), self.page_size)
        row = place * self.row_stride
        tail = self.page_size * self.model.row + place * self.model.tail
        at = np.concatenate([row + np.arange(self.model.row), tail + np.arange(self.model.tail)])
        return page, at

    def put(self, slots, parts, written):
        for slot, part in zip(slots, parts):
            if slot >= 0:
                page, at = self._bytes_of(slot)
                self.pages[page, at[written]] = part[written]

    def get(self, slots):
        return np.stack([self.pages[page, at] for page, at in map(self._bytes_of, slots)])


def rotated(values, cos_sin, positions, rotary):
    """Rotary embedding of [t, ..., d_rope] in float32, with one rounding an operation."""
    half = values.shape[-1] // 2
    angles = cos_sin[positions].astype(np.float32)
    shape = (len(positions),) + (1,) * (values.ndim - 2) + (half,)
    cos, sin = angles[:, :half].reshape(shape), angles[:, half:].reshape(shape)
    values = values.astype(np.float32)
    if rotary == "interleaved":
        x, y = values[..., 0::2], values[..., 1::2]
    else:
        x, y = values[..., :half], values[..., half:]
    out = np.empty_like(values)
    turned = x * cos - y * sin, y * cos + x * sin
    if rotary == "interleaved":
        out[..., 0::2], out[..., 1::2] = turned
    else:
        out[..., :half], out[..., half:] = turned
    return out
