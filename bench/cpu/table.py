#!/usr/bin/env python3
"""Table of a seesaw_cpu_bench record: each whole run beside the multiply instruction alone.

    OMP_PROC_BIND=true seesaw_cpu_bench --benchmark_filter='run|multiply' \\
        --benchmark_min_time=0.05 --benchmark_repetitions=15 \\
        --benchmark_enable_random_interleaving=true --benchmark_out=record.json
    bench/cpu/table.py record.json

Fractions compare like with like, at the same number of threads: the median of a case with the median
of `multiply` in the same interleaved run, and the best repetition with the best that `multiply` or
the roofs at the start reached. On a host that others use the two differ; quote both.
"""

import argparse
import collections
import json
import pathlib
import statistics


def rates_by_case(record):
    """GFLOP/s of every repetition, by (name, arguments) of its benchmark."""
    rates = collections.defaultdict(list)
    for row in record["benchmarks"]:
        if row["run_type"] == "iteration" and row["run_name"].split("/")[0] in ("run", "multiply"):
            name, *arguments = row["run_name"].removesuffix("/real_time").split("/")
            values = dict(argument.split(":") for argument in arguments)
            threads = int(values.pop("threads"))
            case = " ".join(f"{key} {value}" for key, value in values.items())
            rates[name, case, threads].append(row["GFLOP/s"])
    return rates


def multiply_roof(context, threads):
    """GFLOP/s of what `multiply` times: AMX from the first cache, else the faster instruction."""
    rates = {name: float(context.get(f"{name}_gflops_{threads}", 0))
             for name in ("amx_first_cache", "bf16_dot", "float_fma")}
    return rates["amx_first_cache"] or max(rates["bf16_dot"], rates["float_fma"])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=pathlib.Path, help="JSON of seesaw_cpu_bench")
    record = json.loads(parser.parse_args().record.read_text())
    rates = rates_by_case(record)
    context = record["context"]
    peak = {}
    for (name, _, threads), values in rates.items():
        if name == "multiply":
            at_start = multiply_roof(context, "1" if threads == 1 else "all")
            peak[threads] = statistics.median(values), max(*values, at_start)
    print(f"{'case':<24}{'threads':>8}{'median':>9}{'best':>9}  of median, of best multiply"
          "   times one thread (median, best)")
    for threads, (median, best) in sorted(peak.items()):
        print(f"{'multiply':<24}{threads:>8}{median:>9.0f}{best:>9.0f}")
    for (name, case, threads), values in sorted(rates.items()):
        if name != "run":
            continue
        median, best = statistics.median(values), max(values)
        line = (f"{case:<24}{threads:>8}{median:>9.0f}{best:>9.0f}{median / peak[threads][0]:>11.2f}"
                f"{best / peak[threads][1]:>12.2f}")
        alone = rates.get((name, case, 1))
        if threads > 1 and alone:
            line += f"{median / statistics.median(alone):>26.2f}{best / max(alone):>8.2f}"
        print(line)


if __name__ == "__main__":
    main()
