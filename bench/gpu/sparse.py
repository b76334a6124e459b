#!/usr/bin/env python3
"""Sparse decoding on a GPU against the bytes of its rows: whole calls as CUDA-graph replays.

    sparse.py --library libseesaw.so --json sparse.json [--filter h16]
    sparse.py --library new=libseesaw.so --library sm80=libseesaw.so@sm80.sparse_decode --flash-mla

Libraries and FlashMLA's kernels for Hopper (the package sgl-flash-mla, for 64 heads or more; fewer are padded) run
in turn, case after case.

Each query token reads `topk` rows drawn at random from a pool of 2 GiB. The roof is a copy on the device,
timed in the same process: what it reads and writes a second is what rows could be read at.

--steps tells where a tile's time goes: medians of the steps of tiles (docs/profile.md), first tiles apart, by the
library's traced variants.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "python"), str(ROOT / "bench" / "gpu")]

import c_abi
import torch
from pools import FORMATS, cache_view, drawn_values, make_pool
from rivals import DEVICE, Contestant

POOL_BYTES = 2 << 30
PAGE = 64


class Case(NamedTuple):
    b: int
    s_q: int
    h_q: int
    topk: int
    format: str
    extra_topk: int = 0

    def __str__(self) -> str:
        extra = f"+{self.extra_topk}" if self.extra_topk else ""
        return f"b{self.b}.sq{self.s_q}.h{self.h_q}.topk{self.topk}{extra}.{self.format}"


def table() -> List[Case]:
    cases = [Case(128, 1, h, 2048, f) for f in ("bf16", "fp8_656") for h in (8, 16, 64, 128)]
    cases += [Case(128, 2, 128, 2048, "fp8_656"), Case(2, 2, 128, 2048, "fp8_656")]
    cases += [Case(b, 1, h, 2048, "fp8_656") for b in (1, 8, 32) for h in (16, 64, 128)]
    cases += [Case(128, 2, h, 128, "fp8_584", 1024) for h in (64, 128)]
    return cases


class Inputs:
    """Queries and lists of a case; an extra cache is the same pool under lists of its own."""

    def __init__(self, case: Case, pool: torch.Tensor) -> None:
        kind = FORMATS[case.format]
        slots = pool.shape[0] * PAGE
        self.case, self.kind, self.pool = case, kind, pool
        self.q = drawn_values((case.b, case.s_q, case.h_q, kind.d_qk), 0.1).to(torch.bfloat16)
        self.indices = torch.randint(0, slots, (case.b, case.s_q, case.topk), device="cuda").int()
        extra = (case.b, case.s_q, case.extra_topk)
        self.extra = torch.randint(0, slots, extra, device="cuda").int()


def seesaw_call(library: Any, kernel: str, inputs: Inputs) -> Callable[[], torch.Tensor]:
    case, kind, pool = inputs.case, inputs.kind, inputs.pool
    fields = dict(
        q_dtype=c_abi.BFLOAT16, kv_format=kind.number, batch=case.b, s_q=case.s_q,
        h_q=case.h_q, d_qk=kind.d_qk, d_v=512, topk=case.topk, page_size=PAGE,
    )  # fmt: skip
    if case.extra_topk:
        fields.update(extra_topk=case.extra_topk, extra_kv_format=kind.number, extra_page_size=PAGE)
    plan = library.plan(DEVICE, kernel=kernel, **fields)
    out = torch.empty(case.b, case.s_q, case.h_q, 512, dtype=torch.bfloat16, device="cuda")
    lse = torch.empty(case.b, case.h_q, case.s_q, device="cuda")
    schedule = torch.empty(plan.schedule_bytes, dtype=torch.uint8, device="cuda")
    workspace = torch.empty(max(plan.workspace_bytes, 1), dtype=torch.uint8, device="cuda")

    def view(tensor: torch.Tensor, dtype: int) -> c_abi.View:
        return c_abi.View(tensor.data_ptr(), tensor.shape, dtype, DEVICE)

    cache = cache_view(pool, kind)
    tensors = dict(
        q=view(inputs.q, c_abi.BFLOAT16), kv_cache=cache,
        indices=view(inputs.indices, c_abi.INT32), out=view(out, c_abi.BFLOAT16),
        lse=view(lse, c_abi.FLOAT32),
    )  # fmt: skip
    if case.extra_topk:
        tensors.update(extra_kv_cache=cache, extra_indices=view(inputs.extra, c_abi.INT32))
    lists = {name: tensors[name] for name in ("indices", "extra_indices") if name in tensors}
    plan.prepare(lists, schedule.data_ptr())
    torch.cuda.synchronize()
    bound = plan.bind(tensors, kind.d_qk**-0.5, schedule.data_ptr(), workspace.data_ptr())

    def call(_keep: Any = (inputs, schedule, workspace, lse)) -> torch.Tensor:
        bound.set_stream(torch.cuda.current_stream().cuda_stream)
        library.check(bound.run())
        return out

    call.trace = lambda: bound.trace(library)  # type: ignore[attr-defined]
    return call


def print_steps(name: str, call: Any) -> None:
    call.trace()  # loads the traced variant
    steps: Dict[str, List[float]] = {}
    for span in call.trace():
        if span.of_tile and span.tile > 0:
            steps.setdefault(span.step.decode(), []).append(span.end_us - span.begin_us)
    for step, us in steps.items():
        print(f"    {name:10} {step:30} {statistics.median(us):7.2f} us, {len(us)} spans", flush=True)


def flash_mla_call(inputs: Inputs) -> Optional[Callable[[], torch.Tensor]]:
    """FlashMLA's call; the schedule is made by the first one, as its users make it."""
    import flash_mla

    case, kind, cache = inputs.case, inputs.kind, inputs.pool
    if case.format == "bf16":
        return None
    heads = max(64, case.h_q)
    q = torch.zeros(case.b, case.s_q, heads, kind.d_qk, dtype=torch.bfloat16, device="cuda")
    q[:, :, : case.h_q] = inputs.q
    extra = {}
    if case.extra_topk:
        extra = dict(extra_k_cache=cache, extra_indices_in_kvcache=inputs.extra)
    metadata, _ = flash_mla.get_mla_metadata()

    def call() -> torch.Tensor:
        out, _ = flash_mla.flash_mla_with_kvcache(
            q, cache, None, None, 512, metadata, softmax_scale=kind.d_qk**-0.5,
            is_fp8_kvcache=True, indices=inputs.indices, use_legacy=True, **extra,
        )  # fmt: skip
        return out[:, :, : case.h_q]

    return call


def copy_gbps(pool: torch.Tensor) -> float:
    half = pool[: len(pool) // 2]
    target = torch.empty_like(half)
    runner = Contestant(lambda: target.copy_(half))
    return 2e-3 * half.nbytes / min(runner.burst_us() for _ in range(5))


def libraries_of(texts: List[str], operation: str) -> Dict[str, Any]:
    """[NAME=]FILE[@KERNEL] of the command line: by name, the library and the kernel."""
    found = {}
    for text in texts:
        name, _, file = text.rpartition("=")
        path, _, kernel = file.partition("@")
        found[name or "seesaw"] = (c_abi.load(Path(path), operation), kernel)
    return found


def medians_of(runners: Dict[str, Contestant], rounds: int) -> Dict[str, float]:
    """Microseconds of bursts in turn."""
    times: Dict[str, List[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            times[name].append(runner.burst_us())
    return {name: statistics.median(us) for name, us in times.items()}


def report(case: Case, calls: Dict[str, Callable[[], torch.Tensor]], rounds: int, roof: float,
           results: List[Dict[str, Any]]) -> None:  # fmt: skip
    kind = FORMATS[case.format]
    runners = {name: Contestant(call) for name, call in calls.items()}
    medians = medians_of(runners, rounds)
    first = next(iter(runners.values())).out.float()
    tokens = case.b * case.s_q * (case.topk + case.extra_topk)
    row: Dict[str, Any] = {"case": case._asdict(), "contestants": {}}
    for name, runner in runners.items():
        us = medians[name]
        gbps = tokens * kind.row_bytes / us / 1e3
        tflops = 2e-6 * tokens * case.h_q * (kind.d_qk + 512) / us
        apart = (runner.out.float() - first).abs().max().item()
        print(f"{str(case):38} {name:10} {us:8.1f} us {gbps:6.0f} GB/s ({gbps / roof:.2f} of a copy) "
              f"{tflops:6.1f} TFLOPS, from the first {apart:.1e}", flush=True)  # fmt: skip
        row["contestants"][name] = {"us": us, "gbps": gbps, "tflops": tflops}
    results.append(row)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, action="append", metavar="[NAME=]FILE[@KERNEL]",
                        help="libseesaw.so, and the kernel; default: its choice")  # fmt: skip
    parser.add_argument("--flash-mla", action="store_true", help="the package flash_mla, too")
    parser.add_argument("--filter", default="", help="only cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", action="store_true", help="where a tile's time goes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    contestants = libraries_of(arguments.library, "sparse_decode")
    results: List[Dict[str, Any]] = []
    roof = 0.0
    for name, kind in FORMATS.items():
        pool = make_pool(kind, POOL_BYTES, PAGE, 0.1)
        roof = roof or copy_gbps(pool)
        for case in table():
            wanted = any(part in str(case) for part in arguments.filter.split(","))
            if case.format != name or not wanted:
                continue
            inputs = Inputs(case, pool)
            calls = {name: seesaw_call(*of, inputs) for name, of in contestants.items()}
            if arguments.flash_mla and (call := flash_mla_call(inputs)) is not None:
                calls["flash_mla"] = call
            report(case, calls, arguments.rounds, roof, results)
            if arguments.steps:
                for name in contestants:
                    print_steps(name, calls[name])
        del pool
    if arguments.json:
        record = {"device": torch.cuda.get_device_name(), "copy_gbps": roof, "results": results}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
