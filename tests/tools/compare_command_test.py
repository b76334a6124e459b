#!/usr/bin/env python3
"""seesaw compare from outside: a small run, its text and its JSON, and what must be refused.

Usage: compare_command_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import math
import re
import signal
import struct
import subprocess
import time

from command import SEESAW, WORK, CommandTest, main, run, write_safetensors

DTYPES = ("float32", "bfloat16", "float16")


def write_weights(path, shapes, seed=1):
    """A state_dict of float32 matrices, of numbers from a small generator."""
    tensors, state = {}, seed
    for name, shape in shapes.items():
        values = []
        for _ in range(math.prod(shape)):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            values.append((state >> 33) / 2**31 - 0.5)
        tensors[name] = ("F32", shape, struct.pack(f"<{len(values)}f", *values))
    write_safetensors(path, tensors)


class CompareTest(CommandTest):
    def succeed(self, *arguments):
        return super().succeed("compare", *arguments)

    def refuse(self, *arguments, part):
        result = run("compare", *arguments)
        self.assertEqual(result.returncode, 2, f"{arguments}\n{result.stdout}\n{result.stderr}")
        self.assertIn(part, result.stderr)
        message = result.stderr.splitlines()[-1]  # a busy machine is warned of first
        self.assertRegex(message, re.compile(r"^[^\n]+: [^\n]+, [^\n]+\. [^\n]+\.$"))
        self.assertEqual(result.stdout, "")
        self.assertEqual([p.name for p in WORK.iterdir() if "part" in p.name], [])


class SmallRun(CompareTest):
    """One run feeds the tests of its two faces."""

    def test_all_faces(self):
        result = self.succeed("--quick", "--fit-tokens", 16, "--fit-len", 32, "--threads", 1,
                              "--seconds", 0, "--len", "24,48",
                              "--json=report.json", "--progress")
        self.assertRegex(result.stderr, r"compare: about \d+ (s|min) for \d+ steps")
        self.assertIn("compare: 0 %", result.stderr)
        self.check_text(result.stdout)
        self.check_json(json.loads((WORK / "report.json").read_text()))

    def check_text(self, text):
        for title in ("Time of every system", "Error against double",
                      "Compression against error and speed", "python -m seesaw.report"):
            self.assertIn(title, text)
        self.assertNotIn("\x1b", text)

    def check_json(self, report):
        for key in ("command", "device", "commit", "date", "machine", "roofs", "memory_method",
                    "rows", "precision", "tradeoff"):
            self.assertTrue(report[key], key)
        self.assertEqual((report["kind"], report["format"]), ("compare", 2))
        self.assertEqual(report["claim_rows"], [])
        self.assertIs(report["stopped_early"], False)
        self.assertEqual(report["left_out"], [])
        self.check_rows(report["rows"])
        self.check_precision(report["precision"])
        self.check_tradeoff(report["tradeoff"])
        self.assertRegex(report["command"], "^seesaw compare --quick .*--progress$")

    def check_rows(self, rows):
        groups = {}
        for row in rows:
            groups.setdefault((row["phase"], row["len"]), []).append(row)
            self.assertIsNone(row["why_not"], row)
            self.assertGreater(row["us"], 0)
            self.assertLessEqual(row["us_p10"], row["us"])
            self.assertLessEqual(row["us"], row["us_p90"])
            self.assertGreaterEqual(row["runs"], 5)
            self.assertGreater(row["roof_fraction"], 0)
            predicted = row["predicted"]
            self.assertAlmostEqual(row["gflops"], predicted["operations"] / row["us"] / 1e3,
                                   delta=1e-6 * row["gflops"])
            self.assertAlmostEqual(row["roof_fraction"], row["bound_us"] / row["us"], places=9)
        self.assertEqual(sorted(groups), [("decode", 24), ("decode", 48), ("prefill", 24),
                                          ("prefill", 48)])
        systems = ["mha", "traditional_mla", "chunked_mla", "deepseek_mla_expanded",
                   "deepseek_mla_absorbed"]
        for (phase, _), group in groups.items():
            expected = systems + (["dense_decode"] if phase == "decode" else [])
            self.assertEqual([row["system"] for row in group], expected)
            self.assertEqual(group[0]["speed_up"], 1)
        # 4 heads of 32, float32: keys and values of all heads; two latents of 32; 128 + 16.
        cache = {row["system"]: row["predicted"]["cache_bytes_per_token"] for row in rows}
        self.assertEqual([cache[system] for system in systems], [1024, 256, 256, 576, 576])

    def check_precision(self, rows):
        self.assertEqual(len(rows), 5 * 3)
        bounds = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3}
        for row in rows:
            self.assertGreater(row["relative"], 0, row)
            self.assertLess(row["relative"], bounds[row["dtype"]], row)
        for system in {row["system"] for row in rows}:
            error = {row["dtype"]: row["relative"] for row in rows if row["system"] == system}
            self.assertLess(error["float32"], error["float16"])
            self.assertLess(error["float16"], error["bfloat16"])

    def check_tradeoff(self, tradeoff):
        self.assertIn("synthetic", tradeoff["weights"])
        values = tradeoff["singular_values"]
        self.assertEqual(values, sorted(values, reverse=True))
        points = {}
        for point in tradeoff["points"]:
            points.setdefault(point["system"], []).append(point)
        for system in ("deepseek_mla_expanded", "deepseek_mla_absorbed"):
            fits = points[system]
            self.assertLess(fits[0]["error"]["float32"]["relative"], 1e-5)  # full rank: exact
            self.assertGreater(fits[1]["error"]["float32"]["relative"], 1e-2)
            self.assert_growing([point["weight_error"] for point in fits])
            self.assert_growing([point["compression"] for point in fits])
        self.assertLess(points["traditional_mla"][0]["own_error"]["float32"]["relative"], 1e-5)
        self.assertGreater(points["traditional_mla"][0]["error"]["float32"]["relative"], 0.1)
        for point in tradeoff["points"]:
            self.assertEqual(sorted(point["error"]), sorted(DTYPES))
            self.assertGreater(point["prefill"]["us"], 0)
            self.assertGreater(point["decode"]["us"], 0)

    def assert_growing(self, values):
        self.assertEqual(values, sorted(set(values)))


class Options(CompareTest):
    small = ("--quick", "--len", 16, "--phase", "prefill", "--seconds", 0, "--fit-len", 16,
             "--fit-tokens", 8, "--threads", 1)

    def test_given_weights(self):
        write_weights(WORK / "w", {"m.q_proj.weight": [8, 6], "m.k_proj.weight": [4, 6],
                                   "m.v_proj.weight": [4, 6], "m.o_proj.weight": [6, 8]})
        report = json.loads(self.succeed(*self.small, "--weights", "w", "--weights-prefix", "m.",
                                         "--fit-heads", 2, "--ranks", "6,4,2", "--json").stdout)
        tradeoff = report["tradeoff"]
        self.assertEqual((tradeoff["heads"], tradeoff["head_dim"], tradeoff["d_model"]), (2, 4, 6))
        self.assertIn("grouped", tradeoff["weights"])
        expanded = [point for point in tradeoff["points"]
                    if point["system"] == "deepseek_mla_expanded"]
        self.assertEqual([point["latent"] for point in expanded], [6, 4, 2])
        self.assertLess(expanded[0]["error"]["float32"]["relative"], 1e-5)

    def test_wide_layers_have_each_form_once(self):
        """Keys and values stacked are [8, 8]: their full rank is 8, traditional MLA's 4."""
        write_weights(WORK / "w", {"q_proj.weight": [4, 8], "k_proj.weight": [4, 8],
                                   "v_proj.weight": [4, 8], "o_proj.weight": [8, 4]})
        report = json.loads(self.succeed(*self.small, "--weights", "w", "--fit-heads", 2,
                                         "--json").stdout)
        latents = [point["latent"] for point in report["tradeoff"]["points"]
                   if point["system"] == "traditional_mla"]
        self.assertEqual(latents, [4, 2, 1])

    def test_zero_weights(self):
        """A layer that always gives zeros: every fit is exact, and nothing is divided by zero."""
        write_safetensors(WORK / "w", {f"{name}.weight": ("F32", [4, 4], bytes(64)) for name in
                                       ("q_proj", "k_proj", "v_proj", "o_proj")})
        report = json.loads(self.succeed(*self.small, "--weights", "w", "--fit-heads", 2,
                                         "--json").stdout)
        for point in report["tradeoff"]["points"]:
            self.assertEqual(point["error"]["float32"]["relative"], 0, point)
            self.assertEqual(point["weight_error"], 0, point)

    def test_lists(self):
        report = json.loads(self.succeed(*self.small, "--no-fit", "--dtype", "fp32,fp16",
                                         "--batch", "1,2", "--latent", "4,8", "--d-latent", 24,
                                         "--causal", "--check-tokens", 0, "--no-counters",
                                         "--json").stdout)
        self.assertEqual(report["precision"], [])
        self.assertIsNone(report["tradeoff"])
        self.assertEqual(len(report["rows"]), 2 * 2 * (1 + 2 * 2 + 2))
        self.assertEqual({row["dtype"] for row in report["rows"]}, {"float32", "float16"})
        self.assertEqual({row["b"] for row in report["rows"]}, {1, 2})
        self.assertTrue(all(row["causal"] for row in report["rows"]))

    def test_what_does_not_fit_says_so(self):
        result = self.succeed("--quick", "--phase", "prefill", "--len", 2**21, "--chunk", 2**21,
                              "--no-fit", "--check-tokens", 0, "--seconds", 0, "--json=report.json")
        for row in json.loads((WORK / "report.json").read_text())["rows"]:
            self.assertIn("needs about", row["why_not"])
            self.assertGreater(row["predicted"]["score_bytes"], 2**42)
            self.assertNotIn("us", row)
        self.assertIn("not run: needs about", result.stdout)

    def test_refusals(self):
        self.refuse("--len", 0, part="--len = 0")
        self.refuse("--heads", "4,-1", part="--heads = -1")
        self.refuse("--dtype", "int8", part="int8")
        self.refuse("--phase", "training", part="--phase = training")
        self.refuse("--seconds", -1, part="--seconds")
        self.refuse("--seconds", "nan", part="--seconds")
        self.refuse("--fit-decay", "nan", part="--fit-decay = nan")
        self.refuse("--fit-decay", "inf", part="--fit-decay = inf")
        self.refuse("--fit-decay", -0.1, part="--fit-decay = -0.1")
        self.refuse("--fit-decay", 11, part="--fit-decay = 11")
        self.refuse("--threads", -2, part="--threads")
        self.refuse("--threads", 100000, part="0 (all) to 4096")
        self.refuse("--check-tokens", 4097, part="--check-tokens = 4097")
        self.refuse("--fit-tokens", 4097, part="--fit-tokens = 4097")
        self.refuse("--quick", "--fit-heads", 100000, part="a fit of [1600000, 1600000] projections")
        self.refuse("--d-rope", 3, part="--d-rope = 3")
        self.refuse("--device", "tpu", part="tpu")
        self.refuse("--weights", "missing", part="missing")
        self.refuse("--weights", "missing", "--no-fit", part="--no-fit")
        self.refuse("--weights-prefix", "m.", "--no-fit", part="--weights-prefix = m. with --no-fit")
        self.refuse("--ncu", "ncu", part="--ncu = ncu with --device cpu")
        self.refuse("--counters", part="--counters with --device cpu")
        self.refuse("--len", 10**20, part=f"--len = {2**63 - 1} or more, allowed: 1 to ")
        self.refuse("--bogus", part="--bogus")
        write_weights(WORK / "w", {"q_proj.weight": [8, 6]})
        self.refuse("--weights", "w", "--fit-heads", 2, part="k_proj.weight")
        write_weights(WORK / "w", {"q_proj.weight": [0, 64]})
        self.refuse("--weights", "w", "--fit-heads", 2, part="q_proj.weight: empty [0, 64]")
        self.refuse(*self.small, "--ranks", 9999, part="--ranks: 9999")
        self.refuse(*self.small, "--json=missing/report.json", "--no-fit", part="missing")

    def test_help(self):
        self.assertIn("Examples:", self.succeed("--help").stdout)

    def start(self, *arguments):
        process = subprocess.Popen([SEESAW, "compare", "--quick", "--threads", "1", *arguments,
                                    "--json=report.json"], cwd=WORK,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = ""
        while "compare: about" not in line:
            line = process.stderr.readline()
            self.assertTrue(line, "ended before it began to measure")
        return process

    def test_stopped_at_once_it_leaves_the_old_file(self):
        (WORK / "report.json").write_text("old")
        process = self.start("--seconds", "60")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn("compare: stopped before anything was measured", errors)
        self.assertEqual([path.name for path in WORK.iterdir()], ["report.json"])
        self.assertEqual((WORK / "report.json").read_text(), "old")

    def test_stopped_later_it_keeps_what_it_measured(self):
        process = self.start("--seconds", "2", "--phase", "prefill", "--len", "16,24,32",
                             "--no-fit", "--check-tokens", "0")
        for _ in range(600):
            if (WORK / "report.json").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        report = json.loads((WORK / "report.json").read_text())
        self.assertTrue(report["stopped_early"])
        self.assertEqual({row["len"] for row in report["rows"]}, {16})
        self.assertEqual(report["left_out"], ["prefill b 1 len 24 heads 4x32 fp32",
                                              "prefill b 1 len 32 heads 4x32 fp32"])
        self.assertIn("Stopped early; not measured: prefill b 1 len 24", text)
        self.assertIn("2 steps left out; what was measured is in report.json", errors)


if __name__ == "__main__":
    main()
