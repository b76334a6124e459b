#!/usr/bin/env python3
"""The other commands from outside: info, check, explain, plan, bench.

Usage: other_commands_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import math
import os
import shutil
import signal
import subprocess
import unittest

from command import SEESAW, WORK, CommandTest, run, main

REFERENCE = "reference.dense_decode"


class OtherCommands(CommandTest):
    def test_help_everywhere(self):
        for command in ([], ["info"], ["cache"], ["run"], ["make-case"], ["check"], ["explain"], ["plan"],
                        ["bench"]):
            self.assertIn("Examples:", self.succeed(*command, "--help").stdout)
        self.assertRegex(self.succeed("--version").stdout, r"^seesaw \d+\.\d+\.\d+\n$")

    def test_info(self):
        self.assertIn(REFERENCE, self.succeed("info").stdout)
        info = json.loads(self.succeed("info", "--json").stdout)
        kernels = {kernel["kernel"]: kernel for kernel in info["kernels"]["cpu"]}
        self.assertTrue(kernels[REFERENCE]["supported"])
        for answers in info["kernels"].values():
            for kernel in answers:
                self.assertEqual(kernel["supported"], kernel["reason"] == "", kernel)

    def test_bound_threads_do_not_hide_cpus(self):
        def usable(**changes):
            result = run("info", "--json", env={**os.environ, **changes})
            return json.loads(result.stdout)["cpu"]["usable"]
        self.assertEqual(usable(OMP_PROC_BIND="true"), usable(OMP_PROC_BIND="false"))

    def test_disabled_kernels(self):
        environment = {**os.environ, "SEESAW_DISABLE": "cpu, sm09"}
        result = run("info", env=environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('names "sm09", which is no kernel of this build', result.stdout)
        self.assertIn('disabled by "cpu" in the environment variable SEESAW_DISABLE',
                      result.stdout)
        info = json.loads(run("info", "--json", env=environment).stdout)
        self.assertEqual(info["unknown_disabled"], ["sm09"])
        self.assertEqual(json.loads(self.succeed("info", "--json").stdout)["unknown_disabled"], [])
        explained = json.loads(run("explain", "--heads", "2", "--batch", "1", "--len", "9", "--json",
                                   env=environment).stdout)
        self.assertEqual(explained["kernel"], REFERENCE)
        self.succeed("make-case", "-o", "case", "--len", 70, "--heads", 2, "--batch", 2)
        result = run("run", "case", "-o", "out",
                     env={**os.environ, "SEESAW_DISABLE": "cpu,reference"})
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, r"^dense_decode: [^\n]+, allowed: [^\n]+\. [^\n]+\.\n$")
        self.assertNotIn("out", self.leftovers())

    def test_check(self):
        result = json.loads(self.succeed("check", "--quick", "--filter", "sq1 hq16", "--json")
                            .stdout)
        self.assertGreater(result["cases"], 10)
        self.assertEqual(result["failures"], [])
        for row in result["results"]:
            self.assertGreater(row["elements"], 0)
            self.assertLessEqual(row["out_of_bound"]["max"], 1)
        self.assertIn("|err|", self.succeed("check", "--quick", "--filter", "hq7").stdout)
        self.refuse("check", "--quick", "--filter", "hq9999", part="no case was run")
        self.refuse("check", "--quick", "--kernel", "no.such", part="no.such, which is no kernel")
        text = self.succeed("check", "--quick", "--filter", "hq7", "--json=check.json").stdout
        self.assertIn("|err|", text)
        self.assertEqual(json.loads((WORK / "check.json").read_text())["failures"], [])

    def test_check_draws_ragged_queries(self):
        result = json.loads(self.succeed("check", "--quick", "--filter", "causal ragged", "--json")
                            .stdout)
        self.assertGreaterEqual(result["cases"], 4)
        self.assertEqual(result["failures"], [])

    def test_sparse_operations(self):
        for operation in ("sparse_decode", "sparse_prefill"):
            for command in ("explain", "bench", "check"):
                help_text = self.succeed(command, "--op", operation, "--help").stdout
                self.assertIn("Examples:", help_text)
            explained = json.loads(self.succeed("explain", f"--op={operation}", "--heads", 2,
                                                "--topk", 9, "--json").stdout)
            self.assertEqual(explained["kernel"], f"cpu.{operation}")
            self.assertEqual(explained["problem"]["topk"], 9)
            self.assertIn("chosen", self.succeed("explain", "--op", operation).stdout)
            checked = json.loads(self.succeed("check", "--quick", "--op", operation, "--filter",
                                              "hq16 d576/512 topk6", "--json").stdout)
            self.assertEqual(checked["failures"], [])
            self.assertEqual({row["kernel"] for row in checked["results"]}, {f"cpu.{operation}"})
            self.succeed("bench", "--op", operation, "--heads", 2, "--topk", "9,70", "--seconds", 0.01,
                         "--json=sparse.json")
            for row in json.loads((WORK / "sparse.json").read_text())["results"]:
                self.assertEqual(row["op"], operation)
                self.assertGreater(row["us"], 0)
                self.assertGreater(row["roof_fraction"], 0)
            self.refuse("explain", "--op", operation, "--topk", 0, part="topk = 0, allowed: 1 to")
            self.refuse("bench", "--op", operation, "--seconds", -1, part="allowed: 0 to 3600")
            self.refuse("check", "--op", operation, "--kernel", "cpu.dense_decode",
                        part=f"cpu.{operation}, reference.{operation}")
        for command in ("explain", "bench", "check"):
            self.refuse(command, "--op", "gather", part="allowed: dense_decode, sparse_decode, sparse_p")

    def test_progress_goes_to_stderr(self):
        result = self.succeed("check", "--quick", "--filter", "hq7", "--progress", "--json")
        self.assertTrue(result.stderr.startswith("check: 0 %: "), result.stderr)
        json.loads(result.stdout)
        # Without a terminal nothing, unless it takes more than five seconds.
        self.assertRegex(self.succeed("check", "--quick", "--filter", "hq7").stderr,
                         r"^(check: \d+ %[^\n]*\n)*$")
        with open("/dev/full", "w") as full:  # what cannot be shown does not end the command
            process = subprocess.run([SEESAW, "check", "--quick", "--filter", "hq7", "--progress"],
                                     stdout=subprocess.PIPE, stderr=full, timeout=300)
        self.assertEqual(process.returncode, 0)

    def test_explain(self):
        text = self.succeed("explain", "--heads", 16, "--len", 1000, "--peak-gflops", 100,
                            "--read-gbps", 10).stdout
        self.assertIn("chosen", text)
        self.assertIn("bound", text)
        result = json.loads(self.succeed(
            "explain", "--heads", 16, "--batch", 2, "--len", 1000, "--peak-gflops", 100,
            "--read-gbps", 10, "--json").stdout)
        flops = 2 * 2 * 1000 * 16 * (576 + 512)
        read = 2 * (2 * 1000 * 576 + 2 * 16 * (576 + 512))
        self.assertEqual((result["flops"], result["bytes"]), (flops, read))
        self.assertAlmostEqual(result["bound_us"], max(flops / 100e3, read / 10e3), places=6)
        self.refuse("explain", "--peak-gflops", 100, part="--read-gbps")

    def test_explain_and_plan_repeat_what_was_asked(self):
        shape = ["--heads", 16, "--s-q", 2, "--causal", "--kv", "fp32", "--lse-base", 2,
                 "--page-size", 16, "--threads", 3]
        for command in ("explain", "plan"):
            result = json.loads(self.succeed(command, *shape, "--lens", "100,7", "--json").stdout)
            problem = result["problem"]
            expected = {"q_dtype": "bfloat16", "kv_format": "float32", "batch": 2, "s_q": 2,
                        "h_q": 16, "h_kv": 1, "d_qk": 576, "d_v": 512, "page_size": 16,
                        "max_pages_per_sequence": 7, "causal": True, "lse_base": "2",
                        "empty_lse": "-inf"}
            self.assertEqual({name: problem[name] for name in expected}, expected)
            self.assertEqual(result["options"]["num_threads"], 3)
            self.assertEqual(set(problem), {field["name"] for field in self.fields("problem")})
            for name in ("num_workers", "tile_tokens", "tile_rows", "chunk_tokens"):
                self.assertIn(name, result)
            self.assertIn("h_q 16", self.succeed(command, *shape, "--len", 9).stdout)

    def test_explain_and_plan_take_a_case(self):
        self.succeed("make-case", "-o", "case", "--heads", 9, "--causal", "--s-q", 3, "--lens",
                     "70,0,131", "--d-qk", 320, "--dtype", "fp16")
        for command in ("explain", "plan"):
            problem = json.loads(self.succeed(command, "case", "--json").stdout)["problem"]
            self.assertEqual([problem[name] for name in ("batch", "h_q", "s_q", "d_qk", "d_v",
                                                         "q_dtype", "causal")],
                             [3, 9, 3, 320, 320, "float16", True])
        plan = json.loads(self.succeed("plan", "case", "--json").stdout)
        self.assertEqual(plan["seq_lens"], [70, 0, 131])
        plan = json.loads(self.succeed("plan", "case", "--heads", 16, "--len", 64, "--json").stdout)
        self.assertEqual((plan["problem"]["h_q"], plan["seq_lens"]), (16, [64, 64, 64]))

    def fields(self, of):
        info = json.loads(self.succeed("info", "--json").stdout)
        return info["options"] if of == "options" else info["operations"][0][of]

    def test_every_field_with_a_flag_is_in_help(self):
        tables = {of: [field["flag"].split(",") for field in self.fields(of) if field["flag"]]
                  for of in ("problem", "options")}
        settings = [["--causal"], ["--lse-base"], ["--d-v"]]  # what a case's tensors do not tell
        for command, wanted in (("explain", tables["problem"] + tables["options"]),
                                ("plan", tables["problem"] + tables["options"]),
                                ("tune", tables["problem"] + tables["options"]),
                                ("bench", tables["problem"] + tables["options"]),
                                ("make-case", tables["problem"]),
                                ("run", settings + tables["options"]),
                                ("profile", settings + tables["options"]),
                                ("check", tables["options"])):
            text = self.succeed(command, "--help").stdout
            for flags in wanted:
                for flag in flags if command != "bench" else flags[:1]:
                    self.assertRegex(text, rf"(?m)(^  |,){flag}[, \n]", f"{command} {flag}")

    def test_an_unknown_command_is_named(self):
        for typed, meant in (("rn", "run"), ("exlpain", "explain"), ("tuen", "tune"),
                             ("mkae-case", "make-case")):
            self.refuse(typed, "x", part=f"command {typed}, allowed: info, make-case, run")
            self.assertIn(f"Did you mean {meant}?", run(typed).stderr)
        self.refuse(part="seesaw: no command, needed: one of info, make-case, run")

    def test_an_unknown_option_is_named(self):
        for arguments, typed, meant in ((["run", "case", "--verfiy"], "--verfiy", "--verify"),
                                        (["explain", "--haeds", 9], "--haeds", "--heads"),
                                        (["bench", "--secs=3"], "--secs", None),
                                        (["plan", "--page_size=64"], "--page_size", "--page-size"),
                                        (["tune", "--bugdet", 3], "--bugdet", "--budget"),
                                        (["--verison"], "--verison", "--version")):
            self.refuse(*arguments, part=f"option {typed}, which the command does not have. ")
            message = run(*map(str, arguments)).stderr
            self.assertEqual("Did you mean" in message, meant is not None, message)
            self.assertIn(f"Did you mean {meant}?" if meant else "Run `seesaw", message)
        self.refuse("run", "a", "b", part="argument b, one more than the command takes")
        self.refuse("plan", "--seed", part="--seed")
        for wrong in (["run"], ["plan", "--seed"], ["bench", "--secs=3"], ["run", "a", "b"]):
            self.assertNotIn("allowed:", run(*wrong).stderr)  # nothing here is about a value

    def test_plan(self):
        for mode in ([], ["--batch-invariant"]):
            plan = json.loads(self.succeed("plan", "--lens", "0,1,64,65,5000", "--threads", 4,
                                           "--json", *mode).stdout)
            tiles = {}
            for piece in plan["pieces"]:
                for tile in range(piece["tile_begin"], piece["tile_end"]):
                    key = (piece["sequence"], tile)
                    self.assertNotIn(key, tiles)
                    tiles[key] = piece["worker"]
            per_sequence = [math.ceil(length / plan["tile_tokens"]) for length in plan["seq_lens"]]
            self.assertEqual(len(tiles), sum(per_sequence))
            self.assertEqual(plan["total_tiles"], sum(per_sequence))
            self.assertEqual(max(plan["worker_tiles"]), plan["busiest_tiles"])
        text = self.succeed("plan", "--lens", "100,4096", "--threads", 2, "--svg", "plan.svg").stdout
        self.assertIn("busiest worker", text)
        self.assertNotIn("\x1b", text)  # no colours into a pipe
        self.assertTrue((WORK / "plan.svg").read_text().startswith("<svg "))
        self.assertIn("->p", self.succeed("plan", "--lens", "9000", "--threads", 2, "--table").stdout)
        self.refuse("plan", "--lens", "5,-1", part="lengths")

    def test_bench(self):
        for extra in ([], ["--cold"]):
            self.succeed("bench", "--batch", 1, "--heads", 4, "--len", 256, "--seconds", 0.01,
                         "--threads-list", "1,2", "--json=bench.json", *extra)
            result = json.loads((WORK / "bench.json").read_text())
            self.assertEqual(len(result["results"]), 2)
            for row in result["results"]:
                self.assertGreater(row["us"], 0)
                self.assertLessEqual(row["us_p10"], row["us_p90"])
                self.assertEqual(row["l2"], "cold" if extra else "warm")
                self.assertGreater(row["roof_fraction"], 0)
            self.assertGreater(result["roofs"]["cpu_read_gbps"], 0)
            for key in ("device", "commit", "date", "machine"):
                self.assertTrue(result[key])
        self.refuse("bench", "--device", "cuda", "--threads-list", 2, part="--threads-list")
        self.refuse("bench", "--device", "cuda", "--len", 64, part="one value of each")
        self.refuse("bench", "--device", "cuda:1", part="the first GPU")
        for option in (["--d-qk", 576], ["--tuning", "none"], ["--progress"]):
            self.refuse("bench", "--device", "cuda", *option, part=option[0] + " with --device")
        for option in (["--s-q", 2], ["--kv-heads", 1], ["--page-size", 64], ["--causal"],
                       ["--varlen"]):
            self.refuse("bench", "--device", "cuda", *option, part=option[0] + " without --batch")
        self.refuse("bench", "--nonsense", part="--nonsense")

    def test_bench_stopped_keeps_what_it_measured(self):
        process = subprocess.Popen([SEESAW, "bench", "--batch", "1", "--heads", "2", "--len",
                                    "64,65", "--seconds", "2", "--threads", "1", "--progress",
                                    "--json=bench.json"], cwd=WORK, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        while "bench: 0 %" not in process.stderr.readline():
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("bench: stopped early, 1 cases left out", errors)
        result = json.loads((WORK / "bench.json").read_text())
        self.assertTrue(result["stopped_early"])
        self.assertEqual([row["s_k"] for row in result["results"]], [64])
        self.assertIn("cpu.dense_decode", text)

    def test_bench_refuses_before_it_measures(self):
        one = ["bench", "--batch", 1, "--heads", 4, "--len", 64, "--seconds", 0]
        (WORK / "damaged").write_text("{")
        for arguments, part in ((["--kernel", "foo"], "foo"),
                                (["--len", "64,99999999999"], "99999999999"),
                                (["--batch", "1,0"], "batch"),
                                (["--tuning", "damaged"], "tuning_file"),
                                (["--threads", "-1"], "--threads: num_threads = -1, allowed: 0 to 4096"),
                                (["--threads", "100000"], "--threads: num_threads = 100000"),
                                (["--threads-list", "1,100000"], "--threads-list: 100000"),
                                (["--threads-list", "0"], "--threads-list: 0, allowed: 1 to"),
                                (["--seconds", "-1"], "--seconds: -1, allowed: 0 to 3600"),
                                (["--seconds", "nan"], "--seconds: nan")):
            # The option given last, so that the one of `one` does not win.
            options = [x for i in range(1, len(one), 2) if one[i] not in arguments
                       for x in one[i:i + 2]]
            self.refuse("bench", *options, *arguments, part=part)

    def test_roofs_take_no_more_threads_than_cpus(self):
        cpus = json.loads(self.succeed("info", "--json").stdout)["cpu"]["usable"]
        self.succeed("bench", "--batch", 1, "--heads", 4, "--len", 64, "--seconds", 0,
                     "--threads", cpus + 1, "--json=bench.json")
        result = json.loads((WORK / "bench.json").read_text())
        self.assertEqual(result["results"][0]["threads"], cpus + 1)
        self.assertEqual(result["roofs"]["cpu_threads"], cpus)

    def test_outputs_are_checked_before_the_work(self):
        self.succeed("make-case", "-o", "case", "--len", 70, "--heads", 2, "--batch", 1)
        (WORK / "folder").mkdir()
        before = (WORK / "case").read_bytes()
        (WORK / "tuning").write_text("{}")
        commands = ((["check", "--quick"], "--json=", None),
                    (["bench"], "--json=", None),
                    (["plan", "--lens", "100"], "--svg", "--json="),
                    (["explain"], "--json=", None),
                    (["run", "case", "-o", "out"], "--stats", "--json="),
                    (["profile", "case"], "--trace", "--json="),
                    (["profile", "case", "--device", "cuda"], "--ncu-csv", "--json="),
                    (["tune", "--heads", "2", "--budget", "1000"], "-o", "--json="),
                    (["compare"], "--json=", None))

        def option(name, path):
            return [name + path] if name.endswith("=") else [name, path]
        for command, first, second in commands:
            if command[0] == "compare" and "not in this build" in run("--help").stdout:
                continue
            for path, part in (("missing/x", "cannot be created"), ("folder", "is a directory")):
                self.refuse(*command, *option(first, path), part=part)
            if second is not None:
                self.refuse(*command, *option(first, "x"), *option(second, "./x"),
                            part="is named for two outputs")
            if "case" in command:
                self.refuse(*command, *option(first, "case"), part="is the input itself")
        self.refuse("bench", "--tuning", "tuning", "--json=tuning", part="is the input itself")
        self.refuse("tune", "--heads", "2", "--budget", "1000", "-o", "tuning",
                    part="no tuning file")
        self.assertEqual((WORK / "case").read_bytes(), before)
        self.assertEqual(self.leftovers(), ["case", "folder", "tuning"])

    def test_a_program_that_is_missing(self):
        alone = WORK / "seesaw"
        shutil.copy(SEESAW, alone)
        for arguments in (["ladder"], ["tune", "ladder"]):
            result = subprocess.run([alone, *arguments], capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 2)
            self.assertRegex(result.stderr, r"^[^\n]+: [^\n]+, [^\n]+\. [^\n]+\.\n$")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            process = subprocess.run([SEESAW, "plan", "--lens", "100", "--json"], stdout=full,
                                     stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn("standard output", process.stderr)
        many = ",".join(["9000"] * 400)  # more than the stream's buffer holds
        for arguments in (["plan", "--lens", many, "--json"], ["plan", "--lens", many, "--table"]):
            with open("/dev/full", "w") as full:
                process = subprocess.run([SEESAW, *arguments], stdout=full, stderr=subprocess.PIPE,
                                         text=True, timeout=60)
            self.assertEqual(process.returncode, 2)
            self.assertRegex(process.stderr, r"^standard output: No space left[^\n]*, [^\n]+\.\n$")

    def test_a_reader_that_goes_away(self):
        many = ",".join(["9000"] * 400)
        for arguments in (["plan", "--lens", many, "--json"], ["plan", "--lens", many, "--table"],
                          ["info"]):
            reading, writing = os.pipe()
            os.close(reading)
            process = subprocess.run([SEESAW, *arguments], stdout=writing, stderr=subprocess.PIPE,
                                     text=True, timeout=60)
            os.close(writing)
            self.assertEqual((process.returncode, process.stderr), (0, ""))


if __name__ == "__main__":
    main()
