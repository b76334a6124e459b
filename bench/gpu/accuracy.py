#!/usr/bin/env python3
"""Errors against double of builds of Seesaw and of FlashMLA, on the same tensors.

    accuracy.py --library new=a/libseesaw.so --library old=b/libseesaw.so \\
        --flash-mla _C_legacy.abi3.so --json accuracy.json

Root mean square and largest difference of `out`, over all elements, and both over FlashMLA's. The
draws are those of docs/notebook/0072: normal values of three deviations, and Student's t with three
degrees of freedom; four sequences of 4,096 tokens, 128 heads, and one sequence that is not split.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch
from pools import FORMATS
from rivals import D_QK, D_V, Case, Inputs, c_abi, flash_mla_call, seesaw_call

PAGE = 64
CASES = (Case(4, 1, 128, 4096), Case(132, 1, 64, 1024))
DRAWS: Dict[str, Tuple[Callable[..., torch.Tensor], float]] = {
    "N/10": (lambda *shape: torch.randn(*shape) / 10, D_QK**-0.5),
    "N(0,1)": (torch.randn, D_QK**-0.5),
    "3 N(0,1)": (lambda *shape: 3 * torch.randn(*shape), 0.0417),
    "t3": (lambda *shape: torch.distributions.StudentT(3.0).sample(shape), D_QK**-0.5),
}
"""Name: (values of a shape, scale)."""


def reference(inputs: Inputs) -> torch.Tensor:
    case = inputs.case
    outs = []
    for i in range(case.b):
        pages = inputs.block_table[i, : -(-case.s_k // PAGE)].long()
        keys = inputs.kv_cache[pages].reshape(-1, D_QK)[: case.s_k].double()
        weights = (inputs.q[i].double() @ keys.T * inputs.scale).softmax(-1)
        outs.append(weights @ keys[:, :D_V])
    return torch.stack(outs)


def drawn_inputs(case: Case, draw: str, dtype: torch.dtype) -> Inputs:
    values, scale = DRAWS[draw]
    torch.manual_seed(1)
    pages = case.b * -(-case.s_k // PAGE)
    kind = FORMATS["fp16" if dtype == torch.float16 else "bf16"]
    inputs = Inputs(case, kind, values(pages, PAGE, 1, D_QK).to(dtype).cuda(), 1.0)
    inputs.q = values(case.b, case.s_q, case.h_q, D_QK).to(dtype).cuda()
    inputs.scale = scale
    return inputs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", action="append", default=[], help="NAME=libseesaw.so")
    parser.add_argument("--flash-mla", help="FlashMLA's extension", required=True)
    parser.add_argument("--json", help="file to write the results to")
    arguments = parser.parse_args()
    torch.ops.load_library(arguments.flash_mla)
    makers: Dict[str, Callable[[Inputs], Callable[[], Any]]] = {"flash_mla": flash_mla_call}
    for entry in arguments.library:
        name, _, path = entry.partition("=")
        makers[name] = lambda inputs, library=c_abi.load(Path(path)): seesaw_call(library, "", inputs)
    results: List[Dict[str, Any]] = []
    for case in CASES:
        for dtype in (torch.bfloat16, torch.float16):
            for draw in DRAWS:
                inputs = drawn_inputs(case, draw, dtype)
                truth = reference(inputs)
                errors = {name: make(inputs)().double() - truth for name, make in makers.items()}
                found = {
                    name: (e.square().mean().sqrt().item(), e.abs().max().item())
                    for name, e in errors.items()
                }
                base = found["flash_mla"]
                texts = [
                    f"{name} {rms:.3e} {top:.2e} ({rms / base[0]:.3f} {top / base[1]:.2f})"
                    for name, (rms, top) in found.items()
                ]
                dtype_name = str(dtype).replace("torch.", "")
                print(f"{case} {dtype_name:8} {draw:8} | " + " | ".join(texts), flush=True)
                results.append(
                    {"case": case._asdict(), "dtype": dtype_name, "draw": draw, "rms_max": found}
                )
    if arguments.json:
        record = {"device": torch.cuda.get_device_name(), "results": results}
        Path(arguments.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
