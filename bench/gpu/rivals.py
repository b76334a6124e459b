#!/usr/bin/env python3
"""Builds of Seesaw and FlashMLA on the same tensors, in one process, in turn.

    rivals.py --library new=a/libseesaw.so --library old=b/libseesaw.so@sm80.dense_decode \\
        --flash-mla _C_legacy.abi3.so --roofs bench.json --json rivals.json [--filter h16,b1.]

Two regimes, as seesaw_bench_gpu has them: *burst* is one CUDA-graph replay of at least ten calls or
two milliseconds, after an idle gap and one replay to warm up; *short* is the median of the replays
from 20 to 150 ms after an idle gap. In both the contestants take turns, round after round. FlashMLA
is an extension that registers `flash_mla_legacy.dense_decode_fwd`, as the wheel of sgl-flash-mla
1.0.0 holds it (its dense kernel for Hopper). --triton and --flashinfer take vLLM's Triton kernel and
FlashInfer's FA2 kernel from the path, as pack_rivals.py packs them. A library may have the C ABI of today or the one
before operations had tables. Schedules are made once, outside the timed calls.
`of FM` is FlashMLA's time over ours; the fractions of roof are those of seesaw_bench_gpu's JSON
file, cuBLAS's bursts and the best HBM read, in both regimes.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "python"), str(ROOT / "bench" / "gpu")]

import c_abi
import torch
from backends import FlashInferFa2
from cells import Case, roof_us
from inputs import Shape
from pools import FORMATS, Format, cache_view, drawn_values, make_pool
from vllm_backends import VllmTriton

D_QK, D_V = 576, 512
SCALE = D_QK**-0.5
DEVICE = (c_abi.CUDA, 0)


def table() -> List[Case]:
    """The cases of seesaw_bench_gpu."""
    cases = [Case(128, s_q, 128, s_k, True) for s_k in (4096, 8192, 16384, 32768) for s_q in (1, 2)]
    cases += [Case(128, 2, 128, 8192), Case(128, 1, 128, 8192), Case(128, 2, 128, 8192, True, True)]
    cases += [Case(128, 1, 128, 1024), *(Case(128, 1, h, 8192) for h in (16, 32, 64))]
    cases += [Case(128, 2, 16, 1024), Case(32, 4, 16, 4096)]
    lengths = (1024, 8192, 65536)
    cases += [Case(b, 1, h, s) for b in (1, 4, 16, 64) for s in lengths for h in (128, 16)]
    return cases


@functools.lru_cache(maxsize=1)
def shuffled_pages(pages: int) -> torch.Tensor:
    return torch.randperm(pages, generator=torch.Generator().manual_seed(1)).int()


class Inputs:
    """Normal values, of a standard deviation of 1/10 within 1; pages of one pool in random order.
    Calls take one block table after another, of `turns` that share no page."""

    def __init__(
        self, case: Case, kind: Format, pool: torch.Tensor, deviation: float, turns: int = 1
    ) -> None:
        page = pool.shape[1]
        self.kind = kind
        self.case, self.kv_cache, self.device = case, pool, pool.device
        self.shape = Shape(**case._asdict(), page_size=page)
        self.lengths = case.lengths()
        width = -(-max(self.lengths) // page)
        order = shuffled_pages(pool.shape[0])
        tables = torch.zeros(turns, case.b, width, dtype=torch.int32)
        begin = 0
        for row, length in zip(tables.view(-1, width), itertools.cycle(self.lengths)):
            pages = -(-length // page)
            row[:pages] = order[begin : begin + pages]
            begin += pages
        self.block_tables = list(tables.cuda())
        self.block_table = self.block_tables[0]
        self.seq_lens = torch.tensor(self.lengths, dtype=torch.int32).cuda()
        self.q = drawn_values((case.b, case.s_q, case.h_q, kind.d_qk), deviation).to(kind.q_type)
        self.scale = SCALE

    @property
    def flops(self) -> float:
        return 2.0 * self.case.s_q * self.case.h_q * sum(self.lengths) * (self.kind.d_qk + D_V)

    @property
    def bytes(self) -> float:
        rows = self.case.b * self.case.s_q * self.case.h_q
        return sum(self.lengths) * self.kind.row_bytes + 2.0 * rows * (self.kind.d_qk + D_V)


def view(tensor: torch.Tensor, dtype: int) -> c_abi.View:
    return c_abi.View(tensor.data_ptr(), tensor.shape, dtype, DEVICE)


def seesaw_call(library: Any, kernel: str, inputs: Inputs) -> Callable[[], Any]:
    """A run on the current stream by the C ABI of the library, whichever that is; returns out. Its
    `kernel` is the plan's."""
    case, kind = inputs.case, inputs.kind
    plan = library.plan(
        DEVICE,
        kernel=kernel,
        q_dtype=kind.q_dtype,
        batch=case.b,
        s_q=case.s_q,
        h_q=case.h_q,
        h_kv=1,
        d_qk=kind.d_qk,
        d_v=D_V,
        page_size=inputs.shape.page_size,
        max_pages_per_sequence=inputs.block_table.shape[1],
        causal=1 if case.causal else 0,
        **({"kv_format": kind.number} if kind.dtype == c_abi.UINT8 else {}),
    )
    out = torch.empty(case.b, case.s_q, case.h_q, D_V, dtype=kind.q_type, device="cuda")
    lse = torch.empty(case.b, case.h_q, case.s_q, device="cuda")
    schedule = torch.empty(plan.schedule_bytes, dtype=torch.uint8, device="cuda")
    workspace = torch.empty(max(plan.workspace_bytes, 1), dtype=torch.uint8, device="cuda")
    tensors = dict(
        q=view(inputs.q, kind.q_dtype),
        kv_cache=cache_view(inputs.kv_cache, kind),
        seq_lens=view(inputs.seq_lens, c_abi.INT32),
        out=view(out, kind.q_dtype),
        lse=view(lse, c_abi.FLOAT32),
    )
    plan.prepare({"seq_lens": tensors["seq_lens"]}, schedule.data_ptr())
    torch.cuda.synchronize()
    turns = []
    for block_table in inputs.block_tables:
        tensors["block_table"] = view(block_table, c_abi.INT32)
        turns.append(plan.bind(tensors, inputs.scale, schedule.data_ptr(), workspace.data_ptr()))
    next_turn = itertools.cycle(turns)

    def call(_keep: Any = (inputs, schedule, workspace, lse)) -> torch.Tensor:
        bound = next(next_turn)
        bound.set_stream(torch.cuda.current_stream().cuda_stream)
        library.check(bound.run())
        return out

    call.kernel = plan.kernel  # type: ignore[attr-defined]
    return call


def flash_mla_call(inputs: Inputs) -> Callable[[], Any]:
    """Its schedule is made by a first call, and given to the later ones."""
    run = torch.ops.flash_mla_legacy.dense_decode_fwd
    before, causal = (inputs.q, inputs.kv_cache, D_V, inputs.seq_lens), inputs.case.causal
    schedule = run(*before, inputs.block_table, inputs.scale, causal, None, None)[2:]
    turns = itertools.cycle(inputs.block_tables)
    return lambda: run(*before, next(turns), inputs.scale, causal, *schedule)[0]


def backend_call(backend: Any, inputs: Inputs) -> Optional[Callable[[], Any]]:
    """None: not for this case."""
    if reason := backend.why_not(inputs):
        print(f"{inputs.case}: {backend.name}: {reason}", file=sys.stderr)
        return None
    call = backend.prepare(inputs)
    return lambda: call()[0]


class Contestant:
    """A graph of so many calls, the fewest at least, that a replay lasts about two milliseconds."""

    def __init__(self, call: Callable[[], torch.Tensor], fewest: int = 10) -> None:
        self.out = call().clone()
        self.calls = fewest
        self.capture(call)
        self.calls = max(fewest, min(400, round(2000.0 / self.replay_us())))
        self.capture(call)

    def capture(self, call: Callable[[], torch.Tensor]) -> None:
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for _ in range(self.calls):
                call()
        self.graph.replay()

    def replay_us(self) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3 / self.calls

    def burst_us(self, pause_s: float = 0.1) -> float:
        torch.cuda.synchronize()
        time.sleep(pause_s)
        self.graph.replay()
        return self.replay_us()

    def short_us(self) -> float:
        torch.cuda.synchronize()
        time.sleep(0.15)
        marks = [torch.cuda.Event(enable_timing=True)]
        marks[0].record()
        start = time.perf_counter()
        while time.perf_counter() - start < 0.15:
            self.graph.replay()
            marks.append(torch.cuda.Event(enable_timing=True))
            marks[-1].record()
            if len(marks) > 3:
                marks[-3].synchronize()
        torch.cuda.synchronize()
        us = [
            before.elapsed_time(after) * 1e3 / self.calls
            for before, after in zip(marks, marks[1:])
            if marks[0].elapsed_time(before) >= 20.0
        ]
        return statistics.median(us or [marks[-2].elapsed_time(marks[-1]) * 1e3 / self.calls])


def measure(inputs: Inputs, calls: Dict[str, Callable[[], Any]], rounds: int) -> Dict[str, Any]:
    runners = {name: Contestant(call) for name, call in calls.items()}
    first = next(iter(runners.values())).out.float()
    results: Dict[str, Any] = {}
    for name, runner in runners.items():
        results[name] = {"difference": (runner.out.float() - first).abs().max().item()}
    for regime, count in (("burst", rounds), ("short", 1 + rounds // 4)):
        samples: Dict[str, List[float]] = {name: [] for name in runners}
        names = list(runners)
        for turn in range(count):
            for i in range(len(names)):
                name = names[(i + turn) % len(names)]
                samples[name].append(getattr(runners[name], regime + "_us")())
        for name, us in samples.items():
            results[name][regime] = statistics.median(us)
    return results


def line(inputs: Inputs, results: Dict[str, Any], roof: Optional[float]) -> str:
    text = f"{str(inputs.case):30}"
    rival = results.get("flash_mla")
    for name, r in results.items():
        text += f" | {name}"
        for regime in ("burst", "short"):
            text += f" {r[regime]:8.1f}"
            if roof:
                text += f" ({roof / r[regime]:.3f})"
        if rival is not None and r is not rival:
            text += " of FM " + " ".join(f"{rival[k] / r[k]:.3f}" for k in ("burst", "short"))
        text += f" d {r['difference']:.0e}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", action="append", default=[], help="NAME=libseesaw.so[@KERNEL]")
    parser.add_argument("--flash-mla", help="FlashMLA's extension")
    parser.add_argument("--triton", action="store_true", help="vLLM's Triton kernel")
    parser.add_argument("--flashinfer", action="store_true", help="FlashInfer's FA2 kernel")
    parser.add_argument("--page-size", type=int, default=64)
    parser.add_argument("--kv-format", choices=FORMATS, default="bf16",
                        help="of the cache; the others but bf16 are for libraries alone")  # fmt: skip
    parser.add_argument("--roofs", help="JSON file of seesaw_bench_gpu")
    parser.add_argument("--json", help="file to write the results to")
    parser.add_argument("--filter", help="only cases whose name contains one of these, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deviation", type=float, default=0.1, help="standard deviation of values")
    parser.add_argument("--pool-mib", type=int, default=5120)
    arguments = parser.parse_args()
    makers: Dict[str, Callable[[Inputs], Optional[Callable[[], Any]]]] = {}
    for entry in arguments.library:
        name, _, path = entry.partition("=")
        path, _, kernel = path.partition("@")
        makers[name] = functools.partial(seesaw_call, c_abi.load(Path(path)), kernel)
    if arguments.flash_mla:
        torch.ops.load_library(arguments.flash_mla)
        makers["flash_mla"] = flash_mla_call
    for asked, name, backend in (
        (arguments.triton, "triton", VllmTriton()),
        (arguments.flashinfer, "flashinfer", FlashInferFa2()),
    ):
        if asked:
            makers[name] = functools.partial(backend_call, backend)
    roofs = json.loads(Path(arguments.roofs).read_text())["roofs"] if arguments.roofs else None
    wanted = (arguments.filter or "").split(",")
    page = arguments.page_size
    kind = FORMATS[arguments.kv_format]
    pool = make_pool(kind, arguments.pool_mib << 20, page, arguments.deviation)
    records = []
    for case in table():
        if not any(part in str(case) for part in wanted):
            continue
        inputs = Inputs(case, kind, pool, arguments.deviation)
        calls = {name: call for name, make in makers.items() if (call := make(inputs)) is not None}
        results = measure(inputs, calls, arguments.rounds)
        roof = roof_us(inputs.flops, inputs.bytes, roofs) if roofs else None
        print(line(inputs, results, roof), flush=True)
        records.append({"case": case._asdict(), "roof_us": roof, "us": results})
        if arguments.json:
            device = torch.cuda.get_device_name()
            record = {"device": device, "roofs": roofs, "deviation": arguments.deviation,
                      "page_size": page, "kv_format": arguments.kv_format, "results": records}
            Path(arguments.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
