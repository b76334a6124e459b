#!/usr/bin/env python3
"""cpu.dense_decode on a server's CPU: beside PyTorch in one process, interleaved, and beside the CPU's
own roofs, measured in turn before and after each shape.

    cmake --preset cpu && cmake --build --preset cpu --target seesaw_cpu_roofs seesaw
    pip install . torch
    python bench/cpu/servers.py --threads 16 --output bench/results/NAME/DATE-COMMIT-servers.json

GFLOP/s are the problem's own (2 heads keys (576 + 512)); shares are of the better of the two
measurements of a roof: AMX with its tiles in registers, AMX with all of them loaded from the first
cache, reading memory.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
BACKENDS = ["seesaw", "torch", "torch.sdpa"]


def best_roofs(measurements):
    """The better of each roof: a roof is not lowered by a neighbour."""
    return {name: max(m[name] for m in measurements) for name in measurements[0]}


def share(value, roof):
    return round(value / roof, 3) if roof else None


def table_row(shape, rows, roofs):
    """One line of the table: ours, the best of PyTorch, and shares of the roofs."""
    rates = {row["backend"]: row["tflops"] * 1e3 for row in rows}
    bandwidths = {row["backend"]: row["gbps"] for row in rows}
    rivals = [rate for name, rate in rates.items() if name != "seesaw"]
    ours = rates["seesaw"]
    return {
        "b": shape["b"],
        "h_q": shape["h_q"],
        "s_k": shape["s_k"],
        "gflops": round(ours, 1),
        "gbps": bandwidths["seesaw"],
        "of_amx_registers": share(ours, roofs["amx_registers_gflops"]),
        "of_amx_first_cache": share(ours, roofs["amx_first_cache_gflops"]),
        "of_float_fma": share(ours, roofs["float_fma_gflops"]),
        "of_read": share(bandwidths["seesaw"], roofs["read_gbps"]),
        "torch_gflops": round(max(rivals), 1) if rivals else None,
        "times_torch": share(ours, max(rivals)) if rivals else None,
    }


def text_of(table):
    lines = ["  ".join(f"{name:>18}" for name in table[0])]
    for row in table:
        lines.append("  ".join(f"{'-' if value is None else value:>18}" for value in row.values()))
    return "\n".join(lines)


def measure(arguments):
    sys.path.insert(0, str(HERE.parent))
    import compare  # needs PyTorch, as this function does
    import torch

    torch.set_num_threads(arguments.threads)

    def roofs_now():
        command = [arguments.roofs, str(arguments.threads)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    asked = compare.parse_arguments(
        ["--device", "cpu", "--seconds", str(arguments.seconds), "--backends", *BACKENDS,
         "--batch", *arguments.batch, "--heads", *arguments.heads, "--length", *arguments.length])
    results = []
    for shape in compare.shapes_of(asked):
        comparison = compare.Comparison(shape, asked)
        comparison.prepare()
        measurements = [roofs_now()]
        rows = comparison.rows()
        measurements.append(roofs_now())
        compare.print_rows(shape, rows, comparison.left_out)
        roofs = best_roofs(measurements)
        results.append({"rows": rows, "roofs": measurements,
                        "table": table_row({"b": shape.b, "h_q": shape.h_q, "s_k": shape.s_k},
                                           rows, roofs)})
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--roofs", default="build/cpu/bench/cpu/seesaw_cpu_roofs",
                        help="the program that measures roofs")
    parser.add_argument("--seconds", type=float, default=2.0, help="a shape, all backends together")
    parser.add_argument("--batch", nargs="+", default=["1", "8"])
    parser.add_argument("--heads", nargs="+", default=["16", "128"])
    parser.add_argument("--length", nargs="+", default=["1024", "8192"])
    parser.add_argument("--output", type=pathlib.Path, help="write everything there, as JSON")
    arguments = parser.parse_args()
    results = measure(arguments)
    print("\n" + text_of([result["table"] for result in results]))
    if arguments.output:
        import seesaw

        record = {"benchmark": "servers", "date": time.strftime("%Y-%m-%d", time.gmtime()),
                  "threads": arguments.threads,
                  "devices": [str(device) for device in seesaw.info().devices], "results": results}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
