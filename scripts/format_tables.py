"""Tables of docs/cache-formats.md from the formats that a build describes (`seesaw info --json`)."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "e4m3": 8, "e8m0": 8, "e2m1": 4}
EXAMPLE_PAGE = 64

Format = Dict[str, Any]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def page_bytes(cache_format: Format, page_size: int) -> int:
    alignment = cache_format["page_alignment"]
    packed = page_size * (cache_format["row_bytes"] + cache_format["tail_bytes"])
    return -(-packed // alignment) * alignment


def scale_text(cache_format: Format) -> str:
    if cache_format["tensor_scale"]:
        return "one of the whole cache, given with the call"
    count, group = cache_format["scales"]["count"], cache_format["scale_group"]
    what = f"{count} {cache_format['scales']['type']}, each of {group} columns"
    return what if count > 1 else f"one {cache_format['scales']['type']} of {group} columns"


def summary(info: Dict[str, Any]) -> str:
    """One line a format."""
    rows = []
    for f in info["formats"]:
        rows.append([
            f"`{f['name']}`", f["help"], str(f["d_latent"]), str(f["d_rope"] or "none"),
            scale_text(f), str(f["row_bytes"] + f["tail_bytes"]),
            f"{page_bytes(f, EXAMPLE_PAGE):,}",
        ])  # fmt: skip
    header = ["format", "whose", "d_latent", "d_rope", "scales", "bytes of a token",
              f"bytes of a page of {EXAMPLE_PAGE}"]  # fmt: skip
    return table(header, rows)


def parts(cache_format: Format, place: str) -> List[Tuple[int, int, str]]:
    """(first byte, byte behind the last, what) in a token's row or tail, in order, padding too."""
    found = []
    for name in ("latent", "rotary", "scales"):
        segment = cache_format[name]
        if segment["count"] and segment["place"] == place:
            size = segment["count"] * BITS[segment["type"]] // 8
            begin = segment["offset"]
            found.append((begin, begin + size, f"{name}: {segment['count']} {segment['type']}"))
    end = cache_format["row_bytes" if place == "row" else "tail_bytes"]
    filled: List[Tuple[int, int, str]] = []
    at = 0
    for begin, behind, what in sorted(found):
        if begin > at:
            filled.append((at, begin, "padding"))
        filled.append((begin, behind, what))
        at = behind
    if at < end:
        filled.append((at, end, "padding"))
    return filled


def byte_map(cache_format: Format) -> Iterator[List[str]]:
    """Where a token's parts lie in a page of P tokens, for token t."""
    row, tail = cache_format["row_bytes"], cache_format["tail_bytes"]
    for begin, end, what in parts(cache_format, "row"):
        yield [f"`{cache_format['name']}`", f"{row} t + [{begin}, {end})", what]
    for begin, end, what in parts(cache_format, "tail"):
        yield [f"`{cache_format['name']}`", f"{row} P + {tail} t + [{begin}, {end})", what]
    alignment = cache_format["page_alignment"]
    if alignment > 1:
        yield [f"`{cache_format['name']}`", f"up to a multiple of {alignment}", "padding of the page"]


def byte_maps(info: Dict[str, Any]) -> str:
    rows = [row for cache_format in info["formats"] for row in byte_map(cache_format)]
    return table(["format", "bytes of the page", "what"], rows)
