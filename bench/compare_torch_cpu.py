#!/usr/bin/env python3
"""Seesaw's CPU kernel beside PyTorch on the same numbers, in one process.

For every shape, in turns, round after round: PyTorch's ways of the same attention on a contiguous
cache, and Seesaw through its C ABI on a paged cache in random page order. Medians over rounds.
PyTorch's own bfloat16 matrix product of 4096^3 is timed in the same run, as what the machine gives
to a well-tuned library. Needs PyTorch and nothing else:

    python bench/compare_torch_cpu.py --library build/cpu/src/libseesaw.so -o result.json

Operations of one call: 2 * h_q * tokens * (d_qk + d_v), for everybody.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "python"))

import c_abi
import torch
from provenance import commit

D_QK, D_V, PAGE = 576, 512, 64
CPU = (c_abi.CPU, 0)


def view(tensor):
    codes = {torch.bfloat16: c_abi.BFLOAT16, torch.float32: c_abi.FLOAT32,
             torch.int32: c_abi.INT32}
    return c_abi.View(tensor.data_ptr(), tensor.shape, codes[tensor.dtype], CPU, tensor.stride())


def aligned_bytes(count):
    raw = torch.empty(count + c_abi.ALIGNMENT, dtype=torch.uint8)
    offset = -raw.data_ptr() % c_abi.ALIGNMENT
    return raw[offset:offset + count]


class Seesaw:
    """One planned and scheduled problem; calling it runs it."""

    def __init__(self, library, case, threads):
        self.library = library
        batch, h_q = case.q.shape[0], case.q.shape[1]
        self.plan = library.plan(CPU, threads, q_dtype=c_abi.BFLOAT16, batch=batch, h_q=h_q,
                                 max_pages_per_sequence=case.table.shape[1])
        self.out = torch.full((batch, 1, h_q, D_V), math.nan, dtype=torch.bfloat16)
        self.lse = torch.full((batch, h_q, 1), math.nan)
        self.schedule = aligned_bytes(self.plan.schedule_bytes)
        self.workspace = aligned_bytes(self.plan.workspace_bytes)
        self.inputs = (case.q.view(batch, 1, h_q, D_QK), case.pool, case.table, case.lengths)
        tensors = dict(zip(c_abi.TENSORS, map(view, (*self.inputs, self.out, self.lse))))
        self.plan.prepare(tensors["seq_lens"], self.schedule.data_ptr())
        self.call = self.plan.bind(tensors, case.scale, self.schedule.data_ptr(),
                                   self.workspace.data_ptr())

    def __call__(self):
        self.library.check(self.call.run())
        return self.out[:, 0]

    def close(self):
        self.plan.close()


class Case:
    def __init__(self, batch, h_q, s_k):
        pages = s_k // PAGE
        generator = torch.Generator().manual_seed(batch * 1000003 + h_q * 1009 + s_k)

        def normal(*shape):
            return torch.randn(*shape, generator=generator).div_(10).bfloat16()

        self.q = normal(batch, h_q, D_QK)
        self.pool = normal(batch * pages, PAGE, 1, D_QK)
        order = torch.randperm(batch * pages, generator=generator)
        self.table = order.to(torch.int32).view(batch, pages)
        self.contiguous = self.pool[order].reshape(batch, s_k, D_QK).contiguous()
        self.lengths = torch.full((batch,), s_k, dtype=torch.int32)
        self.scale = 1 / math.sqrt(192)
        self.flops = 2 * h_q * batch * s_k * (D_QK + D_V)

    def torch_ways(self):
        """Name -> call; each returns [batch, h_q, d_v]."""
        q, cache, scale = self.q, self.contiguous, self.scale
        values = cache[..., :D_V]
        attend = torch.nn.functional.scaled_dot_product_attention

        def matmul():
            scores = torch.matmul(q, cache.transpose(1, 2)) * scale
            return torch.matmul(torch.softmax(scores, -1), values)

        # Heads as query rows of one head. Values of the keys' width (sliced after) reach PyTorch's
        # fused CPU kernel, which wants equal widths.
        def sdpa():
            return attend(q[:, None], cache[:, None], values[:, None], scale=scale)[:, 0]

        def sdpa_wide():
            return attend(q[:, None], cache[:, None], cache[:, None], scale=scale)[:, 0, :, :D_V]

        return {"matmul": matmul, "sdpa": sdpa, "sdpa_wide": sdpa_wide}

    def exact(self):
        q, cache = self.q.float(), self.contiguous.float()
        weights = torch.softmax(q @ cache.transpose(1, 2) * self.scale, -1)
        return weights @ cache[..., :D_V]


def time_call(call, seconds):
    """Median seconds of a call. Calls before it let threads of another runtime fall asleep."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds / 2:
        call()
    times = []
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def in_turns(calls, rounds, seconds):
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(time_call(call, seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def gemm_rate(size, seconds):
    a, b = (torch.randn(size, size).bfloat16() for _ in range(2))
    return 2 * size**3 / time_call(lambda: torch.mm(a, b), seconds) * 1e-9


def machine(threads):
    cpuinfo = {}
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            cpuinfo.setdefault(key.strip(), value.strip())
    return {
        "cpu": cpuinfo.get("model name", platform.processor()),
        "family_model_stepping": [cpuinfo.get(k) for k in ("cpu family", "model", "stepping")],
        "cpus": os.cpu_count(),
        "threads": threads,
        "bf16_flags": [f for f in ("avx512_bf16", "amx_bf16") if f in cpuinfo.get("flags", "")],
        "os": platform.platform(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),
    }


def measure(library, shape, args):
    case = Case(*shape)
    ours = Seesaw(library, case, args.threads)
    ways = case.torch_ways()
    exact = case.exact()
    error = (ours().float() - exact).abs()
    seconds = in_turns({"seesaw": ours, **ways}, args.rounds, args.seconds)
    rates = {name: case.flops / value * 1e-9 for name, value in seconds.items()}
    best = max(ways, key=lambda name: rates[name])
    row = {
        "batch": shape[0], "h_q": shape[1], "s_k": shape[2],
        "kernel": ours.plan.kernel,
        "gflops": rates,
        "milliseconds": {name: value * 1e3 for name, value in seconds.items()},
        "torch_best": best,
        "times_torch_best": rates["seesaw"] / rates[best],
        "max_error": error.max().item(),
        "workspace_bytes": ours.plan.workspace_bytes,
    }
    ours.close()
    return row


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", default="build/cpu/src/libseesaw.so")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each method in each round")
    parser.add_argument("--heads", type=int, nargs="+", default=[128, 16])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--len", type=int, nargs="+", default=[1024, 8192], dest="lengths")
    parser.add_argument("--gemm", type=int, default=4096, help="size of PyTorch's matrix product")
    parser.add_argument("-o", "--output", help="JSON")
    args = parser.parse_args(argv)
    if any(length % PAGE for length in args.lengths):
        parser.error(f"--len = {args.lengths}, supported: multiples of {PAGE}")
    torch.set_num_threads(args.threads)
    library = c_abi.load(args.library)

    before = gemm_rate(args.gemm, 3 * args.seconds)
    print(f"{'h_q':>4} {'b':>2} {'s_k':>5} | {'seesaw':>8} {'matmul':>8} {'sdpa':>8} "
          f"{'sdpa_wide':>9} | {'x best':>6} | max error   (GFLOP/s, {args.threads} threads)")
    rows = []
    for h_q in args.heads:
        for batch in args.batch:
            for s_k in args.lengths:
                row = measure(library, (batch, h_q, s_k), args)
                rows.append(row)
                rate = row["gflops"]
                print(f"{h_q:4} {batch:2} {s_k:5} | {rate['seesaw']:8.1f} {rate['matmul']:8.1f} "
                      f"{rate['sdpa']:8.1f} {rate['sdpa_wide']:9.1f} | "
                      f"{row['times_torch_best']:6.2f} | {row['max_error']:.2e}", flush=True)
    after = gemm_rate(args.gemm, 3 * args.seconds)
    print(f"PyTorch's bfloat16 matrix product of {args.gemm}^3: {before:.1f} GFLOP/s before, "
          f"{after:.1f} after")
    if args.output:
        result = {"machine": machine(args.threads),
                  f"torch_gemm_{args.gemm}_gflops": {"before": before, "after": after},
                  "rows": rows}
        with open(args.output, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
