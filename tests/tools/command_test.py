#!/usr/bin/env python3
"""The command from outside: make-case, run, check, and everything that must be refused.

Usage: command_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

SEESAW = ""
WORK = pathlib.Path()
REFERENCE = "reference.dense_decode"


def run(*arguments, **options):
    return subprocess.run([SEESAW, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, cwd=WORK, **options)


def read_safetensors(path):
    """Tensors as {name: (shape, [floats or ints])}, and the metadata."""
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = content[8 + length + begin:8 + length + end]
        if entry["dtype"] == "BF16":
            raw = struct.unpack(f"<{len(data) // 2}H", data)
            values = struct.unpack(f"<{len(raw)}f", struct.pack(f"<{len(raw)}I",
                                                                *(x << 16 for x in raw)))
        else:
            code = {"F16": "e", "F32": "f", "I32": "i"}[entry["dtype"]]
            values = struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
        tensors[name] = (entry["shape"], values)
    return tensors, metadata


def write_safetensors(path, tensors, metadata=None, header_edit=None):
    """tensors: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    if header_edit:
        header_edit(header)
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def ints(*values):
    return struct.pack(f"<{len(values)}i", *values)


def small_case(**changes):
    """b 1, s_q 1, h_q 2, d_qk 4, float32; 2 pages of 2 tokens, length 3."""
    tensors = {
        "q": ("F32", [1, 1, 2, 4], struct.pack("<8f", *range(8))),
        "kv_cache": ("F32", [2, 2, 1, 4], struct.pack("<16f", *(x / 16 for x in range(16)))),
        "block_table": ("I32", [1, 2], ints(1, 0)),
        "seq_lens": ("I32", [1], ints(3)),
    }
    tensors.update(changes)
    return tensors


class CommandTest(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)

    def succeed(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refuse(self, *arguments, part):
        """Exit code 2, one four-part line on stderr that holds `part`, nothing on stdout."""
        result = run(*arguments)
        self.assertEqual(result.returncode, 2, f"{arguments}\n{result.stdout}\n{result.stderr}")
        self.assertIn(part, result.stderr)
        self.assertRegex(result.stderr, re.compile(r"^[^\n]+: [^\n]+, [^\n]+\. [^\n]+\.\n$"))
        self.assertEqual(result.stdout, "")

    def leftovers(self):
        return sorted(path.name for path in WORK.iterdir())


class MainJob(CommandTest):
    def compare(self, first, second):
        a, _ = read_safetensors(first)
        b, _ = read_safetensors(second)
        self.assertEqual(a["out"][0], b["out"][0])
        for x, y in zip(a["out"][1], b["out"][1]):
            self.assertLessEqual(abs(x - y), 2 * (8e-4 + 2 / 128 * abs(y)))
        for x, y in zip(a["lse"][1], b["lse"][1]):
            self.assertTrue(x == y or abs(x - y) <= 2 * (1e-6 + 8 / 65536 * abs(y)))
        return a

    def test_case_to_result_matches_reference(self):
        for dtype in ("bf16", "fp16", "fp32"):
            with self.subTest(dtype):
                self.succeed("make-case", "-o", "case", "--batch", 3, "--heads", 9, "--s-q", 2,
                             "--causal", "--len-min", 0, "--len-max", 200, "--dtype", dtype,
                             "--page-size", 61, "--spare-pages", 2, "--seed", 4)
                self.succeed("run", "case", "-o", "fast")
                self.succeed("run", "case", "-o", "slow", "--kernel", REFERENCE)
                result = self.compare(WORK / "fast", WORK / "slow")
                self.assertEqual(result["out"][0], [3, 2, 9, 512])
                self.assertEqual(result["lse"][0], [3, 9, 2])
                self.assertTrue(all(math.isfinite(x) for x in result["out"][1]))

    def test_same_seed_same_bytes(self):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            self.succeed("make-case", "-o", name, "--len", 70, "--heads", 2, "--seed", seed)
        self.assertEqual((WORK / "a").read_bytes(), (WORK / "b").read_bytes())
        self.assertNotEqual((WORK / "a").read_bytes(), (WORK / "c").read_bytes())

    def test_hand_made_case(self):
        # Both heads see tokens on page 1 (0.5.. and 0.75..) and the first of page 0 (0..).
        write_safetensors(WORK / "case", small_case(), {"scale": "0.5", "d_v": "4"})
        self.succeed("run", "case", "-o", "out", "--kernel", REFERENCE)
        result, metadata = read_safetensors(WORK / "out")
        keys = [[(first + k) / 16 for k in range(4)] for first in (8, 12, 0)]
        for head in range(2):
            q = [4 * head + k for k in range(4)]
            scores = [0.5 * sum(x * y for x, y in zip(q, key)) for key in keys]
            total = sum(math.exp(score) for score in scores)
            self.assertAlmostEqual(result["lse"][1][head], math.log(total), places=5)
            for k in range(4):
                expected = sum(math.exp(s) / total * key[k] for s, key in zip(scores, keys))
                self.assertAlmostEqual(result["out"][1][4 * head + k], expected, places=5)
        self.assertEqual(metadata["kernel"], REFERENCE)

    def test_options_override_metadata(self):
        write_safetensors(WORK / "case", small_case(), {"scale": "0.5"})
        self.succeed("run", "case", "-o", "a", "--scale", 0.25, "--lse-base", 2, "--d-v", 2)
        result, metadata = read_safetensors(WORK / "a")
        self.assertEqual(result["out"][0], [1, 1, 2, 2])
        self.assertEqual((metadata["scale"], metadata["lse_base"]), ("0.25", "2"))

    def test_summary_as_json(self):
        self.succeed("make-case", "-o", "case", "--len", 70, "--heads", 2, "--batch", 2)
        summary = json.loads(self.succeed("run", "case", "-o", "out", "--json").stdout)
        self.assertEqual((summary["b"], summary["h_q"], summary["tokens"]), (2, 2, 140))
        self.assertGreater(summary["us"], 0)
        self.succeed("run", "case", "-o", "out", "--json=summary.json")
        self.assertEqual(json.loads((WORK / "summary.json").read_text())["kernel"],
                         summary["kernel"])

    def test_stats_as_prometheus_text(self):
        self.succeed("make-case", "-o", "case", "--len", 70, "--heads", 2, "--batch", 2)
        self.succeed("run", "case", "-o", "out", "--repeat", 5, "--kernel", REFERENCE, "--stats",
                     "stats.prom")
        labels = f'operation="dense_decode",kernel="{REFERENCE}"'
        samples = dict(line.rsplit(" ", 1) for line in (WORK / "stats.prom").read_text()
                       .splitlines() if not line.startswith("#"))
        run_calls = f'seesaw_calls_total{{{labels},function="run",status="SEESAW_OK"}}'
        self.assertEqual(samples[run_calls], "5")
        self.assertEqual(samples[f"seesaw_kv_tokens_total{{{labels}}}"], str(5 * 140))
        self.assertIn(run_calls, self.succeed("run", "case", "-o", "out", "--kernel", REFERENCE,
                                              "--stats", "-").stdout)
        self.refuse("run", "case", "-o", "out", "--stats", "case", part="case")

    def test_wide_integers_rank_3_and_unaligned_tensors(self):
        write_safetensors(WORK / "plain", small_case())
        wide = small_case(kv_cache=("F32", [2, 2, 4], small_case()["kv_cache"][2]),
                          block_table=("I64", [1, 2], struct.pack("<2q", 1, 0)),
                          seq_lens=("I64", [1], struct.pack("<q", 3)))
        write_safetensors(WORK / "wide", {"byte": ("U8", [1], b"x"), **wide})
        self.succeed("run", "plain", "-o", "a")
        self.succeed("run", "wide", "-o", "b")
        self.assertEqual(read_safetensors(WORK / "a")[0], read_safetensors(WORK / "b")[0])


class BadInput(CommandTest):
    def run_case(self, part, **changes):
        write_safetensors(WORK / "case", small_case(**changes))
        self.refuse("run", "case", "-o", "out", part=part)
        self.assertEqual(self.leftovers(), ["case"])

    def test_files(self):
        self.refuse("run", "nowhere", "-o", "out", part="nowhere: cannot be opened")
        self.refuse("run", ".", "-o", "out", part="is not a regular file")
        (WORK / "empty").write_bytes(b"")
        self.refuse("run", "empty", "-o", "out", part="the file has 0 bytes")
        os.mkfifo(WORK / "fifo")
        self.refuse("run", "fifo", "-o", "out", part="is not a regular file")

    def test_hostile_headers(self):
        (WORK / "long").write_bytes(struct.pack("<Q", 1 << 63) + b"{}")
        self.refuse("run", "long", "-o", "out", part="header length = 9223372036854775808")
        deep = b'{"q":' + b"[" * 100000
        (WORK / "deep").write_bytes(struct.pack("<Q", len(deep)) + deep)
        self.refuse("run", "deep", "-o", "out", part="the header holds")

        def overlap(header):
            header["q"]["data_offsets"] = [8, 40]
        write_safetensors(WORK / "overlap", small_case(), header_edit=overlap)
        self.refuse("run", "overlap", "-o", "out", part="no gaps, no overlaps")
        whole = WORK / "whole"
        write_safetensors(whole, small_case())
        for size in range(0, whole.stat().st_size, 37):
            (WORK / "cut").write_bytes(whole.read_bytes()[:size])
            self.refuse("run", "cut", "-o", "out", part="cut")

    def test_tensors(self):
        self.run_case("kv_cache: shape [2, 2]", kv_cache=("F32", [2, 2], bytes(16)))
        self.run_case("q: dtype I32", q=("I32", [1, 1, 2, 4], bytes(32)))
        self.run_case("q has batch = 1", seq_lens=("I32", [2], ints(3, 3)))
        self.run_case("q: shape [0, 1, 2, 4]", q=("F32", [0, 1, 2, 4], b""))
        self.run_case("h_q = 3", q=("F32", [1, 1, 3, 4], bytes(48)),
                      kv_cache=("F32", [1, 2, 2, 4], bytes(64)))

    def test_values(self):
        self.run_case("-1", seq_lens=("I32", [1], ints(-1)))
        self.run_case("5", seq_lens=("I32", [1], ints(5)))
        self.run_case("7", block_table=("I32", [1, 2], ints(1, 7)))
        self.run_case("-2", block_table=("I32", [1, 2], ints(-2, 0)))

    def test_options(self):
        write_safetensors(WORK / "case", small_case())
        self.refuse("run", "case", "-o", "out", "--scale", "nan", part="--scale: nan")
        self.refuse("run", "case", "-o", "out", "--scale", "inf", part="--scale: inf")
        self.refuse("run", "case", "-o", "out", "--lse-base", "10", part="--lse-base: 10")
        self.refuse("run", "case", "-o", "out", "--kernel", "no.such", part="no.such")
        self.refuse("run", "case", "-o", "out", "--device", "tpu", part="--device: tpu")
        self.refuse("run", "case", "-o", "out", "--d-v", "5", part="d_v = 5")
        self.refuse("run", "case", "-o", "out", "--repeat", "0", part="--repeat: 0")
        self.refuse("run", "case", "-o", "out", "--bogus", part="--bogus")
        self.refuse("run", "case", part="--output is required")
        self.refuse("make-case", "-o", "x", "--heads", "0", part="h_q = 0")
        self.refuse("make-case", "-o", "x", "--page-size", "0", part="page_size = 0")
        self.refuse("make-case", "-o", "x", "--batch", "-3", part="batch = -3")
        self.refuse("make-case", "-o", "x", "--len", "-3", part="lengths")
        self.refuse("make-case", "-o", "x", "--dtype", "int8", part="--dtype")
        self.refuse("make-case", "-o", "x", "--spare-pages", "-1", part="pages")
        self.refuse(part="subcommand")
        self.assertEqual(self.leftovers(), ["case"])

    def test_outputs(self):
        write_safetensors(WORK / "case", small_case())
        before = (WORK / "case").read_bytes()
        (WORK / "folder").mkdir()
        os.link(WORK / "case", WORK / "hard-link")
        for output, part in (("case", "is the input itself"), ("hard-link", "is the input itself"),
                             ("folder", "is a directory"), ("case/x", "cannot be created"),
                             ("/proc/x", "cannot be created"), ("missing/x", "cannot be created"),
                             ("/dev/null", "is not a regular file")):
            self.refuse("run", "case", "-o", output, part=part)
        self.refuse("run", "case", "-o", "out", "--json=case", part="is the input itself")
        self.assertEqual((WORK / "case").read_bytes(), before)

    def test_verify_passes_right_results(self):
        self.succeed("make-case", "-o", "case", "--batch", 2, "--heads", 3, "--len", 130)
        summary = json.loads(self.succeed("run", "case", "-o", "out", "--verify", "--json").stdout)
        self.assertGreater(summary["error_of_bound"], 0)
        self.assertLessEqual(summary["error_of_bound"], 1)

    def test_verify_refuses_wrong_results(self):
        spoiler = os.environ.get("SEESAW_TEST_WRONG_RESULTS")
        if not spoiler:
            self.skipTest("SEESAW_TEST_WRONG_RESULTS names no library to preload (ctest sets it)")
        self.succeed("make-case", "-o", "case", "--batch", 2, "--heads", 3, "--len", 130)
        (WORK / "out").write_text("precious")
        for tensor in ("out", "lse"):
            environment = {**os.environ, "LD_PRELOAD": spoiler, "SEESAW_TEST_SPOIL": tensor,
                           "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")
                           + ":verify_asan_link_order=0"}
            result = run("run", "case", "-o", "out", "--verify", env=environment)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(f"out of bound against the reference: {tensor}[0]", result.stderr)
            self.assertEqual((WORK / "out").read_text(), "precious")
            self.assertEqual(self.leftovers(), ["case", "out"])

    def test_a_failed_run_keeps_the_old_output(self):
        write_safetensors(WORK / "case", small_case(seq_lens=("I32", [1], ints(-1))))
        (WORK / "out").write_text("precious")
        self.refuse("run", "case", "-o", "out", part="-1")
        self.assertEqual((WORK / "out").read_text(), "precious")
        self.assertEqual(self.leftovers(), ["case", "out"])

    def test_no_gpu(self):
        info = json.loads(self.succeed("info", "--json").stdout)
        if any(kernel["supported"] for kernel in info["kernels"]["cuda:0"]):
            self.skipTest("this machine has a GPU that a kernel supports")
        write_safetensors(WORK / "case", small_case())
        self.refuse("run", "case", "-o", "out", "--device", "cuda", part="dense_decode")
        self.refuse("bench", "--device", "cuda", part="needed: a GPU")
        self.assertEqual(self.leftovers(), ["case"])


class Interruption(CommandTest):
    def interrupt(self, number, *arguments):
        process = subprocess.Popen([SEESAW, *map(str, arguments)], cwd=WORK,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not any(name.endswith(".part") for name in self.leftovers()):
            self.assertIsNone(process.poll(), "finished before it could be interrupted")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"interrupted", errors)

    def test_make_case(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.interrupt(number, "make-case", "-o", "x", "--batch", 64, "--len", 16384,
                           "--dtype", "fp32")
            self.assertEqual(self.leftovers(), [])

    def test_run(self):
        self.succeed("make-case", "-o", "case", "--batch", 4, "--len", 4096)
        self.interrupt(signal.SIGINT, "run", "case", "-o", "out", "--kernel", REFERENCE,
                       "--repeat", 1000)
        self.assertEqual(self.leftovers(), ["case"])


    def test_input_that_shrinks(self):
        self.succeed("make-case", "-o", "case", "--batch", 4, "--len", 4096)
        process = subprocess.Popen([SEESAW, "run", "case", "-o", "out", "--kernel", REFERENCE,
                                    "--repeat", "1000"], cwd=WORK, stderr=subprocess.PIPE)
        while "out" not in "".join(self.leftovers()):
            time.sleep(0.002)
        os.truncate(WORK / "case", 4096)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn(b"must stay as it is while in use", errors)
        self.assertEqual(self.leftovers(), ["case"])


class OtherCommands(CommandTest):
    def test_help_everywhere(self):
        for command in ([], ["info"], ["run"], ["make-case"], ["check"], ["explain"], ["plan"],
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
        self.refuse("check", "--quick", "--kernel", "no.such", part="no case was run")

    def test_progress_goes_to_stderr(self):
        result = self.succeed("check", "--quick", "--filter", "hq7", "--progress", "--json")
        self.assertIn("check: 0/", result.stderr)
        json.loads(result.stdout)
        self.assertEqual(self.succeed("check", "--quick", "--filter", "hq7").stderr, "")

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
        self.refuse("bench", "--nonsense", part="--nonsense")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            process = subprocess.run([SEESAW, "plan", "--lens", "100", "--json"], stdout=full,
                                     stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(process.returncode, 2)
        self.assertIn("standard output", process.stderr)


if __name__ == "__main__":
    SEESAW = os.path.abspath(sys.argv[1])
    WORK = pathlib.Path(sys.argv[2]).absolute()
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
