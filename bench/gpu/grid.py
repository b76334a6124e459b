#!/usr/bin/env python3
"""The dense grid: Seesaw and FlashMLA over every batch, heads, query tokens and lengths, L2 cold.

    grid.py --library libseesaw.so --flash-mla _C_legacy.abi3.so --roofs bench.json \\
        --minutes 6 --json grid.json [--continue] [--kernel NAME] [--filter h16,b1.]

A cell's contestants take turns: an idle gap, one replay of a CUDA graph to warm up, one to time. A
graph has so many calls that it lasts 2 ms and walks through 256 MiB of pages before they return.
Coarse cells come first, each has its part of the minutes that are left (three rounds at least), and
the file is written after each: a run that is cut has a coarse grid, and --continue goes on with it.
--kernel, as often as wanted, times another kernel of Seesaw's beside the planner's choice, where it
supports the cell. --roofs is any file with measured roofs, of seesaw_bench_gpu or of rivals.py.
Cells whose cache does not fit the pool are left out, and the record says so. Clock and power are
NVML's, read while replays run; the power is a mean that lags, in part that of the cell before.
bench/grid_figures.py draws the heat maps and prints the tables again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "python"), str(ROOT / "bench" / "gpu")]

import c_abi
import cells
import torch
from cells import OURS, RIVAL, Case, Record
from pools import FORMATS, make_pool
from provenance import commit
from rivals import Contestant, Inputs, flash_mla_call, seesaw_call

PAGE, DEVIATION = 64, 0.1
FEWEST_ROUNDS, MOST_ROUNDS = 3, 9
RESERVE_BYTES = 12 << 30
"""For queries, outputs, workspaces and graphs beside the pool."""
Maker = Callable[[Inputs], Callable[[], torch.Tensor]]


class Card:
    """NVML of the first GPU; without it there are no clocks and no power."""

    def __init__(self) -> None:
        self.driver, self._nvml = "unknown", None
        with contextlib.suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            driver = pynvml.nvmlSystemGetDriverVersion()
            self.driver = driver.decode() if isinstance(driver, bytes) else driver
            self._nvml = pynvml

    def state(self) -> Dict[str, Optional[float]]:
        if self._nvml is None:
            return {"clock_mhz": None, "power_w": None}
        clock = self._nvml.nvmlDeviceGetClockInfo(self._handle, self._nvml.NVML_CLOCK_SM)
        power = self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3
        return {"clock_mhz": clock, "power_w": power}


class Bench:
    """Measures a cell by each of its makers."""

    def __init__(self, makers: Dict[str, Maker], pool: torch.Tensor, card: Card,
                 roofs: Optional[Dict[str, float]], pause_s: float) -> None:  # fmt: skip
        self.makers, self.pool, self.card, self.roofs = makers, pool, card, roofs
        self.pause_s, self.kind = pause_s, FORMATS["bf16"]

    def measure(self, case: Case, share_is_over: Callable[[], bool]) -> Record:
        pages = cells.pages_of(case.lengths(), PAGE)
        page_bytes = PAGE * self.kind.row_bytes
        turns = cells.turns_of(pages, self.pool.shape[0], page_bytes)
        if turns == 0:
            gb, room = pages * page_bytes / 1e9, self.pool.nbytes / 1e9
            return {"why": f"its cache has {gb:.1f} GB, the pool {room:.1f}"}
        inputs = Inputs(case, self.kind, self.pool, DEVIATION, turns)
        runners, kernel, refused = self._runners(inputs, turns)
        if OURS not in runners:
            return {"why": refused[OURS]}
        times: Dict[str, List[float]] = {name: [] for name in runners}
        names = list(runners)
        for turn in cells.rounds_until(share_is_over, FEWEST_ROUNDS, MOST_ROUNDS):
            for i in range(len(names)):
                name = names[(i + turn) % len(names)]
                times[name].append(runners[name].burst_us(self.pause_s))
        first = runners[OURS].out.float()
        apart = {n: (r.out.float() - first).abs().max().item() for n, r in runners.items()}
        row = {
            "kernel": kernel, "turns": turns, "rounds": len(times[OURS]),
            "calls": {name: runner.calls for name, runner in runners.items()},
            "us": {name: cells.summary(us) for name, us in times.items()},
            "difference": apart, "refused": refused, **self._state(runners[OURS]),
        }  # fmt: skip
        roof = cells.roof_us(inputs.flops, inputs.bytes, self.roofs) if self.roofs else None
        return cells.completed(row, roof)

    def _runners(
        self, inputs: Inputs, turns: int
    ) -> Tuple[Dict[str, Contestant], str, Dict[str, str]]:
        """By name; the kernel that Seesaw chose; who cannot run this cell, and why."""
        runners: Dict[str, Contestant] = {}
        refused: Dict[str, str] = {}
        chosen = ""
        for name, make in self.makers.items():
            if name == chosen:
                continue  # it is timed as the choice
            try:
                call = make(inputs)
                if name == OURS:
                    chosen = call.kernel  # type: ignore[attr-defined]
                runners[name] = Contestant(call, turns)
            except RuntimeError as error:
                refused[name] = str(error).splitlines()[0]
                torch.cuda.synchronize()  # raises if the device itself has failed
        return runners, chosen, refused

    def _state(self, runner: Contestant) -> Dict[str, Optional[float]]:
        for _ in range(3):
            runner.graph.replay()
        state = self.card.state()
        torch.cuda.synchronize()
        return state


def pool_bytes(cases: List[Case], most: int) -> int:
    """What the largest cell takes and no more than `most`, nor than the GPU has free."""
    free = torch.cuda.mem_get_info()[0] - RESERVE_BYTES
    page_bytes = PAGE * FORMATS["bf16"].row_bytes
    needed = max(cells.pages_of(case.lengths(), PAGE) for case in cases) * page_bytes
    return max(cells.COLD_BYTES, min(free, most, max(needed, 2 * cells.COLD_BYTES)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", required=True, type=Path, help="libseesaw.so")
    parser.add_argument("--kernel", action="append", default=[], metavar="NAME",
                        help="another kernel of it, beside its choice")  # fmt: skip
    parser.add_argument("--flash-mla", help="FlashMLA's extension, as rivals.py takes it")
    parser.add_argument("--roofs", type=Path, help="JSON file with roofs")
    parser.add_argument("--json", type=Path, required=True, help="the record")
    parser.add_argument("--continue", dest="go_on", action="store_true",
                        help="with what the record has")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--filter", default="", help="only cells whose name contains one of these")
    parser.add_argument("--pause-ms", type=float, default=20.0, help="idle before each replay")
    parser.add_argument("--pool-gib", type=float, default=64.0, help="of pages, at most")
    arguments = parser.parse_args()
    budget = cells.Budget(60 * arguments.minutes)
    library = c_abi.load(arguments.library)
    makers: Dict[str, Maker] = {OURS: functools.partial(seesaw_call, library, "")}
    if arguments.flash_mla:
        torch.ops.load_library(arguments.flash_mla)
        makers[RIVAL] = flash_mla_call
    for name in arguments.kernel:
        makers[name] = functools.partial(seesaw_call, library, name)
    roofs = json.loads(arguments.roofs.read_text())["roofs"] if arguments.roofs else None
    card = Card()
    header = {
        "benchmark": "grid", "device": torch.cuda.get_device_name(), "driver": card.driver,
        "commit": commit(), "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "l2": "cold", "kv_format": "bf16", "page_size": PAGE, "deviation": DEVIATION,
        "pause_ms": arguments.pause_ms, "contestants": list(makers), "roofs": roofs,
    }  # fmt: skip
    record = cells.begun(arguments.json, header, arguments.go_on)
    wanted = arguments.filter.split(",")
    chosen = [case for case in cells.grid() if any(part in str(case) for part in wanted)]
    size = pool_bytes(chosen, int(arguments.pool_gib * 2**30))
    pool = make_pool(FORMATS["bf16"], size, PAGE, DEVIATION)
    before = len(record["results"])
    print(f"{len(chosen)} cells, measured before: {before}, pool {size / 1e9:.1f} GB", flush=True)
    bench = Bench(makers, pool, card, roofs, arguments.pause_ms / 1e3)
    cells.run(chosen, record, budget, arguments.json, bench.measure)
    cells.print_tables(record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
