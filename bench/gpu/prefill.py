#!/usr/bin/env python3
"""Sparse prefill on a GPU: whole calls as CUDA-graph replays, beside FlashMLA's kernels for Hopper.

    prefill.py --library libseesaw.so --flash-mla --json prefill.json [--filter d512]

Each query token reads `topk` rows of one contiguous bf16 tensor, drawn at random. Libraries and FlashMLA (the
package sgl-flash-mla) run in turn, case after case.
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
from pools import drawn_values
from rivals import D_V, DEVICE, Contestant, view
from sparse import libraries_of, medians_of


class Case(NamedTuple):
    s_q: int
    s_kv: int
    topk: int
    h_q: int
    d_qk: int

    def __str__(self) -> str:
        return f"sq{self.s_q}.s{self.s_kv}.topk{self.topk}.h{self.h_q}.d{self.d_qk}"

    @property
    def flops(self) -> float:
        return 2.0 * self.s_q * self.topk * self.h_q * (self.d_qk + D_V)


def table() -> List[Case]:
    return [
        Case(4096, 8192, 2048, 128, 576),
        Case(4096, 65536, 2048, 128, 576),
        Case(4096, 8192, 512, 64, 512),
        Case(4096, 32768, 1024, 128, 512),
    ]


class Inputs:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.q = drawn_values((case.s_q, case.h_q, case.d_qk), 0.1).bfloat16()
        self.kv = drawn_values((case.s_kv, 1, case.d_qk), 0.1).bfloat16()
        shape = (case.s_q, 1, case.topk)
        self.indices = torch.randint(0, case.s_kv, shape, device="cuda").int()


def seesaw_call(library: Any, kernel: str, inputs: Inputs) -> Callable[[], torch.Tensor]:
    case = inputs.case
    plan = library.plan(
        DEVICE, kernel=kernel, q_dtype=c_abi.BFLOAT16, s_q=case.s_q, h_q=case.h_q, d_qk=case.d_qk,
        d_v=D_V, topk=case.topk,
    )  # fmt: skip
    out = torch.empty(case.s_q, case.h_q, D_V, dtype=torch.bfloat16, device="cuda")
    lse, max_logits = (torch.empty(case.s_q, case.h_q, device="cuda") for _ in range(2))
    schedule = torch.empty(plan.schedule_bytes, dtype=torch.uint8, device="cuda")
    workspace = torch.empty(max(plan.workspace_bytes, 1), dtype=torch.uint8, device="cuda")
    tensors = dict(
        q=view(inputs.q, c_abi.BFLOAT16), kv=view(inputs.kv, c_abi.BFLOAT16),
        indices=view(inputs.indices, c_abi.INT32), out=view(out, c_abi.BFLOAT16),
        lse=view(lse, c_abi.FLOAT32), max_logits=view(max_logits, c_abi.FLOAT32),
    )  # fmt: skip
    plan.prepare({"indices": tensors["indices"]}, schedule.data_ptr())
    torch.cuda.synchronize()
    bound = plan.bind(tensors, case.d_qk**-0.5, schedule.data_ptr(), workspace.data_ptr())

    def call(_keep: Any = (inputs, schedule, workspace, lse, max_logits)) -> torch.Tensor:
        bound.set_stream(torch.cuda.current_stream().cuda_stream)
        library.check(bound.run())
        return out

    return call


def flash_mla_call(inputs: Inputs) -> Callable[[], torch.Tensor]:
    import flash_mla

    scale = inputs.case.d_qk**-0.5
    return lambda: flash_mla.flash_mla_sparse_fwd(
        inputs.q, inputs.kv, inputs.indices, scale, use_legacy=True
    )[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, action="append", metavar="[NAME=]FILE[@KERNEL]",
                        help="libseesaw.so, and the kernel; default: its choice")  # fmt: skip
    parser.add_argument("--flash-mla", action="store_true", help="the package flash_mla, too")
    parser.add_argument("--filter", default="", help="only cases whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    contestants = libraries_of(arguments.library, "sparse_prefill")
    results: List[Dict[str, Any]] = []
    for case in table():
        if not any(part in str(case) for part in arguments.filter.split(",")):
            continue
        inputs = Inputs(case)
        calls = {name: seesaw_call(*of, inputs) for name, of in contestants.items()}
        if arguments.flash_mla:
            calls["flash_mla"] = flash_mla_call(inputs)
        runners = {name: Contestant(call) for name, call in calls.items()}
        medians = medians_of(runners, arguments.rounds)
        first = next(iter(runners.values())).out.float()
        row: Dict[str, Any] = {"case": case._asdict(), "contestants": {}}
        for name, runner in runners.items():
            us = medians[name]
            tflops = case.flops / us / 1e6
            apart = (runner.out.float() - first).abs().max().item()
            print(f"{str(case):34} {name:10} {us:8.1f} us {tflops:6.1f} TFLOPS, "
                  f"from the first {apart:.1e}", flush=True)  # fmt: skip
            row["contestants"][name] = {"us": us, "tflops": tflops}
        results.append(row)
    if arguments.json:
        record = {"device": torch.cuda.get_device_name(), "results": results}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
