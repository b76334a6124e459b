"""Host time that Python adds to a call of the C ABI.

    python bench/python/overhead.py [--library torch] [--device cuda:0] [--json FILE]

Every variant decodes the same empty sequence, so that what is left is the call itself. Variants run
interleaved in batches of 50 calls (on a GPU with a synchronisation after each batch, outside the
timed part); the figures are the median and the minimum of the batches' means. The C call goes
through ctypes with its arguments bound; the cost of ctypes itself, measured on seesaw_version(), is
taken off.

What a call adds is also told in yardsticks: a yardstick is a call of a Python function with the
same arguments that hands the same arrays to a tvm-ffi function without a body. How fast the machine
is now, and what this Python and this tvm-ffi cost anyway, is the same for both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

# One worker for every variant: waking a second one is not what is measured.
os.environ["OMP_NUM_THREADS"] = "1"

import c_call
import seesaw
from provenance import commit

CALLS_PER_BATCH = 50
CTYPES, C_CALL, YARDSTICK = "ctypes alone", "C call", "yardstick"
LIMITS_US = {"dense_decode, all buffers given": 3.5, "flash_mla, current form": 9.0}
"""Of issue 11: what a variant may add to the C call on the host of an H200."""


def make_arrays(library: str, device: str) -> Tuple[Tuple[Any, ...], Callable[[], None]]:
    """((q, kv_cache, block_table, seq_lens), synchronise)."""
    if library == "numpy":
        import numpy

        arrays = (
            numpy.zeros((1, 1, 1, 576), numpy.float16),
            numpy.zeros((1, 64, 1, 576), numpy.float16),
            numpy.zeros((1, 1), numpy.int32),
            numpy.zeros(1, numpy.int32),
        )
        return arrays, lambda: None
    import torch

    arrays = (
        torch.zeros((1, 1, 1, 576), dtype=torch.float16, device=device),
        torch.zeros((1, 64, 1, 576), dtype=torch.float16, device=device),
        torch.zeros((1, 1), dtype=torch.int32, device=device),
        torch.zeros(1, dtype=torch.int32, device=device),
    )
    return arrays, torch.cuda.synchronize if device.startswith("cuda") else lambda: None


def make_variants(arrays: Tuple[Any, ...], library: str) -> Dict[str, Callable[[], Any]]:
    """The calls are written as programs write them, every argument by itself: what a dictionary of
    keywords costs is no part of them."""
    q, kv_cache, block_table, seq_lens = arrays
    decode = seesaw.dense_decode
    problem = seesaw.Problem.of(q, kv_cache, block_table)
    schedule = seesaw.make_schedule(problem, seq_lens, num_threads=1)
    out, lse = decode(q, kv_cache, block_table, seq_lens, scale=1.0, schedule=schedule)
    size = seesaw.workspace_size(schedule)
    workspace = None
    if size:
        like = schedule.buffer
        workspace = like.new_empty(size) if library == "torch" else type_like(like, size)
    stream = 0
    if schedule.options.device != "cpu":
        import torch

        stream = torch.cuda.current_stream().cuda_stream

    def with_all(call: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: call(
            q,
            kv_cache,
            block_table,
            seq_lens,
            scale=1.0,
            schedule=schedule,
            out=out,
            lse=lse,
            workspace=workspace,
        )

    def without_workspace() -> Any:
        return decode(
            q, kv_cache, block_table, seq_lens, scale=1.0, schedule=schedule, out=out, lse=lse
        )

    variants: Dict[str, Callable[[], Any]] = {
        CTYPES: c_call.load().empty_call(),
        YARDSTICK: with_all(make_yardstick()),
        C_CALL: c_call.bind(schedule, (*arrays, out, lse), workspace, stream),
        "dense_decode, all buffers given": with_all(decode),
        "dense_decode, workspace allocated": without_workspace,
        "dense_decode, outputs allocated too": lambda: decode(
            q, kv_cache, block_table, seq_lens, scale=1.0, schedule=schedule
        ),
        "dense_decode, schedule made too": lambda: decode(
            q, kv_cache, block_table, seq_lens, scale=1.0, num_threads=1
        ),
    }
    if library == "torch":
        variants.update(make_torch_variants(arrays))
    return variants


def make_yardstick() -> Callable[..., Any]:
    import tvm_ffi

    without_a_body = tvm_ffi.get_global_func("testing.nop")

    def call(
        q: Any,
        kv_cache: Any,
        block_table: Any,
        seq_lens: Any,
        *,
        scale: float,
        schedule: Any = None,
        out: Any = None,
        lse: Any = None,
        workspace: Any = None,
        **settings: Any,
    ) -> Tuple[Any, Any]:
        buffer = None if schedule is None else schedule.buffer
        without_a_body(q, kv_cache, block_table, seq_lens, out, lse, buffer, workspace, scale)
        return out, lse

    return call


def type_like(buffer: Any, size: int) -> Any:
    import numpy

    return numpy.empty(size, buffer.dtype)


def make_torch_variants(arrays: Tuple[Any, ...]) -> Dict[str, Callable[[], Any]]:
    import seesaw.torch  # noqa: F401  registers the operator
    import torch
    from seesaw.compat.flash_mla import flash_mla_with_kvcache as flash_mla
    from seesaw.compat.flash_mla import get_mla_metadata

    q, kv_cache, block_table, seq_lens = arrays
    operator = torch.ops.seesaw.dense_decode
    current, nothing = get_mla_metadata()
    older, num_splits = get_mla_metadata(seq_lens, 1, 1)
    return {
        "torch.ops.seesaw.dense_decode": lambda: operator(
            q, kv_cache, block_table, seq_lens, 1.0, num_threads=1
        ),
        "flash_mla, current form": lambda: flash_mla(
            q, kv_cache, block_table, seq_lens, 512, current, nothing
        ),
        "flash_mla, older form": lambda: flash_mla(
            q, kv_cache, block_table, seq_lens, 512, older, num_splits
        ),
    }


def measure(
    variants: Dict[str, Callable[[], Any]], synchronise: Callable[[], None], rounds: int
) -> Dict[str, Dict[str, float]]:
    means: Dict[str, list] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            call()
            synchronise()
            begin = time.perf_counter()
            for _ in range(CALLS_PER_BATCH):
                call()
            means[name].append((time.perf_counter() - begin) / CALLS_PER_BATCH * 1e6)
            synchronise()
    return {
        name: {"median_us": statistics.median(batch), "min_us": min(batch)}
        for name, batch in means.items()
    }


def added(results: Dict[str, Dict[str, float]]) -> Dict[str, Dict[str, float]]:
    """What each variant adds to the C call; yardsticks: the least of it in the least yardstick."""
    added = {}
    for name, result in results.items():
        if name in (CTYPES, YARDSTICK, C_CALL):
            continue
        added[name] = {
            figure: result[figure] - results[C_CALL][figure] + results[CTYPES][figure]
            for figure in result
        }
        added[name]["yardsticks"] = added[name]["min_us"] / results[YARDSTICK]["min_us"]
    return added


def describe(arguments: argparse.Namespace) -> Dict[str, Any]:
    import tvm_ffi

    info = seesaw.info()
    description = {
        "library": arguments.library,
        "device": arguments.device,
        "devices": {row.device: row.name for row in info.devices if row.usable},
        "python": platform.python_version(),
        "tvm_ffi": tvm_ffi.__version__,
        "seesaw": seesaw.__version__,
        "load_average": os.getloadavg()[0],
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if arguments.library == "torch":
        import torch

        description["torch"] = torch.__version__
    return description


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=["numpy", "torch"], default="numpy")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:N with --library torch")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the result there")
    arguments = parser.parse_args(argv)
    arrays, synchronise = make_arrays(arguments.library, arguments.device)
    results = measure(make_variants(arrays, arguments.library), synchronise, arguments.rounds)
    extra = added(results)
    print(f"{'':38}{'median':>9}{'min':>9}   adds to the C call (median, min, us; min, yardsticks)")
    for name, result in results.items():
        more = extra.get(name)
        text = "" if more is None else "".join(f"{figure:9.2f}" for figure in more.values())
        limit = f"   limit {LIMITS_US[name]:.1f}" if name in LIMITS_US and more else ""
        print(f"{name:38}{result['median_us']:9.2f}{result['min_us']:9.2f}   {text}{limit}")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        record = {**describe(arguments), "results": results, "added": extra}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
