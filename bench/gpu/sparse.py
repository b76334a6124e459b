#!/usr/bin/env python3
"""Sparse decoding on a GPU against the bytes of its rows: whole calls as CUDA-graph replays.

    sparse.py --library libseesaw.so --json sparse.json [--filter h16]

Each query token reads `topk` rows drawn at random from a pool of 2 GiB. The roof is a copy on the device,
timed in the same process: what it reads and writes a second is what rows could be read at.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "python"), str(ROOT / "bench" / "gpu")]

import c_abi
import torch
from rivals import DEVICE, Contestant, drawn_values

POOL_BYTES = 2 << 30
PAGE = 64


class Format(NamedTuple):
    number: int  # seesaw_format
    columns: int  # elements of a token
    d_qk: int
    dtype: int
    row_bytes: int
    page_alignment: int = 1  # elements that a page is a multiple of

    @property
    def page_elements(self) -> int:
        return -(-PAGE * self.columns // self.page_alignment) * self.page_alignment


FORMATS = {
    "bf16": Format(c_abi.BFLOAT16, 576, 576, c_abi.BFLOAT16, 1152),
    "fp8_656": Format(16, 656, 576, c_abi.UINT8, 656),
    "fp8_584": Format(17, 584, 512, c_abi.UINT8, 584, 576),
}


class Case(NamedTuple):
    b: int
    s_q: int
    h_q: int
    topk: int
    format: str

    def __str__(self) -> str:
        return f"b{self.b}.sq{self.s_q}.h{self.h_q}.topk{self.topk}.{self.format}"


def table() -> List[Case]:
    cases = [Case(128, 1, h, 2048, f) for f in FORMATS for h in (8, 16, 64, 128)]
    cases += [Case(b, 1, h, 2048, "fp8_656") for b in (1, 8, 32) for h in (16, 64, 128)]
    return cases


def make_pool(kind: Format) -> torch.Tensor:
    shape = (POOL_BYTES // (kind.row_bytes * PAGE), kind.page_elements)
    if kind.dtype == c_abi.BFLOAT16:
        return drawn_values(shape, 0.1).to(torch.bfloat16)
    # Any bytes but those of NaN: the time does not depend on them.
    return torch.randint(0, 0x3C, shape, dtype=torch.uint8, device="cuda")


def make_call(library: Any, case: Case, pool: torch.Tensor) -> Callable[[], torch.Tensor]:
    kind = FORMATS[case.format]
    plan = library.plan(
        DEVICE, q_dtype=c_abi.BFLOAT16, kv_format=kind.number, batch=case.b, s_q=case.s_q,
        h_q=case.h_q, d_qk=kind.d_qk, d_v=512, topk=case.topk, page_size=PAGE,
    )  # fmt: skip
    q = drawn_values((case.b, case.s_q, case.h_q, kind.d_qk), 0.1).to(torch.bfloat16)
    slots = pool.shape[0] * PAGE
    indices = torch.randint(0, slots, (case.b, case.s_q, case.topk), device="cuda").int()
    out = torch.empty(case.b, case.s_q, case.h_q, 512, dtype=torch.bfloat16, device="cuda")
    lse = torch.empty(case.b, case.h_q, case.s_q, device="cuda")
    schedule = torch.empty(plan.schedule_bytes, dtype=torch.uint8, device="cuda")
    workspace = torch.empty(max(plan.workspace_bytes, 1), dtype=torch.uint8, device="cuda")

    def view(tensor: torch.Tensor, dtype: int) -> c_abi.View:
        return c_abi.View(tensor.data_ptr(), tensor.shape, dtype, DEVICE)

    shape = (pool.shape[0], PAGE, 1, kind.columns)
    strides = (kind.page_elements, kind.columns, kind.columns, 1)
    cache = c_abi.View(pool.data_ptr(), shape, kind.dtype, DEVICE, strides)
    tensors = dict(
        q=view(q, c_abi.BFLOAT16), kv_cache=cache,
        indices=view(indices, c_abi.INT32), out=view(out, c_abi.BFLOAT16),
        lse=view(lse, c_abi.FLOAT32),
    )  # fmt: skip
    plan.prepare({"indices": tensors["indices"]}, schedule.data_ptr())
    torch.cuda.synchronize()
    bound = plan.bind(tensors, kind.d_qk**-0.5, schedule.data_ptr(), workspace.data_ptr())

    def call(_keep: Any = (q, indices, schedule, workspace, lse)) -> torch.Tensor:
        bound.set_stream(torch.cuda.current_stream().cuda_stream)
        library.check(bound.run())
        return out

    return call


def copy_gbps(pool: torch.Tensor) -> float:
    half = pool.view(torch.uint8).flatten()
    half = half[: half.numel() // 2]
    target = torch.empty_like(half)
    runner = Contestant(lambda: target.copy_(half))
    return 2e-3 * half.numel() / min(runner.burst_us() for _ in range(5))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, type=Path, help="libseesaw.so")
    parser.add_argument("--filter", default="", help="only cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    library = c_abi.load(arguments.library, "sparse_decode")
    results: List[Dict[str, Any]] = []
    roof = 0.0
    for name, kind in FORMATS.items():
        pool = make_pool(kind)
        roof = roof or copy_gbps(pool)
        for case in table():
            wanted = any(part in str(case) for part in arguments.filter.split(","))
            if case.format != name or not wanted:
                continue
            runner = Contestant(make_call(library, case, pool))
            us = sorted(runner.burst_us() for _ in range(arguments.rounds))[arguments.rounds // 2]
            tokens = case.b * case.s_q * case.topk
            gbps = tokens * kind.row_bytes / us / 1e3
            tflops = 2e-6 * tokens * case.h_q * (kind.d_qk + 512) / us
            print(f"{str(case):34} {us:8.1f} us {gbps:7.0f} GB/s ({gbps / roof:.2f} of a copy) "
                  f"{tflops:6.1f} TFLOPS", flush=True)  # fmt: skip
            results.append({"case": case._asdict(), "us": us, "gbps": gbps, "tflops": tflops})
        del pool
    if arguments.json:
        record = {"device": torch.cuda.get_device_name(), "copy_gbps": roof, "results": results}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
