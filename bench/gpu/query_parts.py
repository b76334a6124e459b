#!/usr/bin/env python3
"""dense_decode and sparse_decode on a GPU, of queries in two parts, of the same in one tensor, and
of one tensor that PyTorch concatenates first.

    query_parts.py --json parts.json

Each call is replayed in a CUDA graph of as many calls as take about two milliseconds; the median
of the replays, taken in turn. Results of parts have to be the same bits. Needs the package and
PyTorch.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import seesaw
import torch
from cache_operations import Graph
from provenance import commit

PAGE, TOPK, SCALE = 64, 2048, 192**-0.5
CASES = ((64, 16, 8192), (128, 128, 2048), (4, 128, 8192), (1, 16, 8192))
"""Sequences, heads, tokens of each."""
Decode = Callable[..., Tuple[torch.Tensor, ...]]


def operations(b: int, tokens: int) -> Dict[str, Decode]:
    """Calls of queries [b, 1, h, ...], which know all but them."""
    pages = b * tokens // PAGE
    cache = (torch.randn(pages, PAGE, 576, device="cuda") * 0.1).bfloat16()
    table = torch.randperm(pages, device="cuda").int().view(b, -1)
    lengths = torch.full((b,), tokens, dtype=torch.int32, device="cuda")
    places = torch.rand(b, tokens, device="cuda").argsort(1)[:, None, :TOPK]
    slots = (table.gather(1, places[:, 0] // PAGE)[:, None] * PAGE + places % PAGE).int()
    return {
        "dense_decode": lambda q, **more: seesaw.dense_decode(
            q, cache, table, lengths, scale=SCALE, **more
        ),
        "sparse_decode": lambda q, **more: seesaw.sparse_decode(
            q, cache, slots, scale=SCALE, **more
        ),
    }


def measure(name: str, decode: Decode, shape: Tuple[int, int, int]) -> Dict[str, Any]:
    b, heads, tokens = shape
    q = torch.randn(b, 1, heads, 576, device="cuda").bfloat16()
    # As a batched product leaves it, heads outermost.
    latent = q[..., :512].movedim(2, 0).contiguous().movedim(0, 2)
    rotary = q[..., 512:].contiguous()
    calls: Dict[str, Callable[[int], Any]] = {
        "one_us": lambda i: decode(q),
        "parts_us": lambda i: decode(latent, q_rotary=rotary),
        "concatenated_us": lambda i: decode(torch.cat((latent, rotary), -1)),
    }
    pairs = zip(decode(q), decode(latent, q_rotary=rotary))
    if not all(torch.equal(one, parts) for one, parts in pairs):
        raise SystemExit(f"query_parts: {name} {shape}: other bits of two parts than of one tensor")
    graphs = {key: Graph(call) for key, call in calls.items()}
    times: Dict[str, List[float]] = {key: [] for key in calls}
    for _ in range(21):
        for key, graph in graphs.items():
            times[key].append(graph.us())
    medians = {key: round(statistics.median(values), 2) for key, values in times.items()}
    return {"operation": name, "sequences": b, "heads": heads, "tokens": tokens, **medians}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where the record goes")
    arguments = parser.parse_args()
    rows = []
    for shape in CASES:
        for name, decode in operations(shape[0], shape[2]).items():
            rows.append(measure(name, decode, shape))
            print(rows[-1], flush=True)
    if arguments.json:
        device = torch.cuda.get_device_name()
        record = {"benchmark": "query_parts", "commit": commit(), "device": device, "rows": rows}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
