#!/usr/bin/env python3
"""append, gather and merge_states on a GPU, beside what memory gives in the same process.

    cache_operations.py --json cache.json

Each call is replayed in a CUDA graph of as many calls as take about two milliseconds; the median of
the replays. Caches are walked through: a graph's calls use other slots each, over 2 GiB. The roof is
PyTorch's copy of as many bytes as the call reads and writes, half of them each way, timed in turn
with it. Needs the package and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

import seesaw
import torch
from provenance import commit

PAGE = 64
CACHE_BYTES = 2 << 30
TOKENS = (128, 1024, 4096, 32768, 131072)
FORMATS = (None, "fp8_656", "fp8_584", "fp8_576", "fp8_528", "int8_644")


class Case(NamedTuple):
    name: str
    tokens: int
    bytes_moved: int
    call: Callable[[int], Any]
    """Of the number of the call in a graph."""


class Graph:
    def __init__(self, call: Callable[[int], Any]) -> None:
        call(0)
        self.calls = 1
        self.capture(call)
        self.calls = max(1, min(200, round(2000.0 / self.us())))
        self.capture(call)

    def capture(self, call: Callable[[int], Any]) -> None:
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(self.calls):
                call(i)
        self.graph.replay()
        torch.cuda.synchronize()

    def us(self) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3 / self.calls


def copy_case(bytes_moved: int) -> Callable[[int], Any]:
    half = bytes_moved // 2
    copies = max(1, min(64, CACHE_BYTES // max(half, 1)))
    source = torch.empty(copies, half, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return lambda i: target[i % copies].copy_(source[i % copies])


class Caches:
    """A pool in a format, and slots of it in random order of pages."""

    def __init__(self, name: Any) -> None:
        self.format = name
        if name is None:
            self.d_latent, self.d_rope, token_bytes = 512, 64, 1152
            pages = CACHE_BYTES // (PAGE * token_bytes)
            self.cache = torch.zeros(pages, PAGE, 576, dtype=torch.bfloat16, device="cuda")
        else:
            known = seesaw.formats()[name]
            self.d_latent, self.d_rope = known.d_latent, known.d_rope
            token_bytes = known.token_bytes
            pages = CACHE_BYTES // known.page_bytes(PAGE)
            self.cache = seesaw.empty_cache(name, pages, PAGE, like=torch.empty(0, device="cuda"))
            self.cache.zero_()
        self.token_bytes = token_bytes
        order = torch.randperm(pages, device="cuda")
        self.slots = (order[:, None] * PAGE + torch.arange(PAGE, device="cuda")).flatten()

    def slots_of(self, i: int, tokens: int) -> torch.Tensor:
        begin = i * tokens % (len(self.slots) - tokens + 1)
        return self.slots[begin : begin + tokens]


def append_case(caches: Caches, tokens: int) -> Case:
    width = caches.d_latent + caches.d_rope
    rows = torch.randn(tokens, width, device="cuda").bfloat16()
    c_kv, k_rope = rows[:, : caches.d_latent], rows[:, caches.d_latent :]

    def call(i: int) -> Any:
        slots = caches.slots_of(i, tokens)
        return seesaw.append(c_kv, k_rope, slots, caches.cache, kv_format=caches.format)

    name = f"append {caches.format or 'bfloat16'}"
    return Case(name, tokens, tokens * (2 * width + caches.token_bytes + 8), call)


def gather_case(caches: Caches, tokens: int, dtype: str) -> Case:
    width = caches.token_bytes if dtype == "raw" else 2 * (caches.d_latent + caches.d_rope)
    if caches.format is None:
        out = torch.empty(tokens, 576, dtype=torch.bfloat16, device="cuda")
    elif dtype == "raw":
        out = torch.empty(tokens, caches.token_bytes, dtype=torch.uint8, device="cuda")
    else:
        columns = caches.d_latent + caches.d_rope
        out = torch.empty(tokens, columns, dtype=torch.bfloat16, device="cuda")

    def call(i: int) -> Any:
        slots = caches.slots_of(i, tokens)
        return seesaw.gather(
            caches.cache, slots=slots, kv_format=caches.format, dtype=dtype, out=out
        )

    name = f"gather {caches.format or 'bfloat16'} {dtype}"
    return Case(name, tokens, tokens * (caches.token_bytes + width + 8), call)


def merge_case(tokens: int, parts: int) -> Case:
    heads, d_v = 16, 512
    outs = torch.randn(parts, tokens, heads, d_v, device="cuda").bfloat16()
    lses = torch.randn(parts, tokens, heads, device="cuda")
    out = torch.empty(tokens, heads, d_v, dtype=torch.bfloat16, device="cuda")
    lse = torch.empty(tokens, heads, device="cuda")

    def call(i: int) -> Any:
        return seesaw.merge_states(list(outs), list(lses), out=out, lse=lse, lse_layout="th")

    moved = (parts + 1) * tokens * heads * (2 * d_v + 4)
    return Case(f"merge_states of {parts}, 16 heads", tokens, moved, call)


def measure(case: Case, rounds: int) -> Dict[str, Any]:
    ours, roof = Graph(case.call), Graph(copy_case(case.bytes_moved))
    samples: List[List[float]] = [[], []]
    for _ in range(rounds):
        for graph, us in zip((ours, roof), samples):
            us.append(graph.us())
    us, copy_us = (statistics.median(s) for s in samples)
    row = {
        "operation": case.name, "tokens": case.tokens, "us": round(us, 3),
        "gbps": round(case.bytes_moved / us / 1e3, 1), "copy_us": round(copy_us, 3),
        "of_copy": round(copy_us / us, 3),
    }  # fmt: skip
    print(
        f"{row['operation']:28} {row['tokens']:7} tokens {us:9.2f} us {row['gbps']:7.0f} GB/s, "
        f"copy {copy_us:9.2f} us: {row['of_copy']:.2f}",
        flush=True,
    )
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--filter", default="", help="only operations whose name contains this")
    arguments = parser.parse_args()
    rows: List[Dict[str, Any]] = []

    def add(case: Case) -> None:
        if arguments.filter not in case.name:
            return
        rows.append(measure(case, arguments.rounds))
        if arguments.json:  # after every case: what is behind it may fail
            record = {
                "benchmark": "cache-operations", "device": torch.cuda.get_device_name(),
                "commit": commit(), "page_size": PAGE, "results": rows,
            }  # fmt: skip
            arguments.json.write_text(json.dumps(record, indent=1) + "\n")

    for name in FORMATS:
        caches = Caches(name)
        for tokens in TOKENS:
            add(append_case(caches, tokens))
            for dtype in ("bfloat16",) if name is None else ("bfloat16", "raw"):
                add(gather_case(caches, tokens, dtype))
        del caches
    for tokens in (128, 1024, 4096, 32768):
        add(merge_case(tokens, 2))
    add(merge_case(4096, 8))
    return 0


if __name__ == "__main__":
    sys.exit(main())
