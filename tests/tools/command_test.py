#!/usr/bin/env python3
"""The main job from outside: make-case and run, what must be refused, and interruptions.

Usage: command_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import math
import os
import signal
import struct
import subprocess
import time
import zipfile

from command import (SEESAW, WORK, CommandTest, ints, read_safetensors, run, small_case,
                     write_safetensors, main)

REFERENCE = "reference.dense_decode"


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

    def test_a_case_carries_its_settings(self):
        self.succeed("make-case", "-o", "case", "--len", 70, "--heads", 2, "--batch", 2, "--s-q", 2,
                     "--causal", "--lse-base", 2, "--d-v", 64)
        self.succeed("run", "case", "-o", "out")
        result, metadata = read_safetensors(WORK / "out")
        self.assertEqual(result["out"][0], [2, 2, 2, 64])
        self.assertEqual((metadata["causal"], metadata["lse_base"]), ("true", "2"))
        self.succeed("run", "case", "-o", "natural", "--lse-base", "e")
        natural, metadata = read_safetensors(WORK / "natural")
        self.assertEqual(metadata["lse_base"], "e")
        for base_2, base_e in zip(result["lse"][1], natural["lse"][1]):
            self.assertAlmostEqual(base_2 * math.log(2), base_e, places=5)

    def test_a_case_carries_a_tree_mask_sinks_a_window_and_a_soft_cap(self):
        sinks = struct.pack("<2f", 1.0, -1.0)
        plain = {"scale": "0.5", "d_v": "4"}
        write_safetensors(WORK / "case", small_case(
            sinks=("F32", [2], sinks), tree_mask=("U8", [1, 1, 1], b"\1")),
            {**plain, "window": "2", "soft_cap": "1.5"})
        self.succeed("run", "case", "-o", "out", "--max-logits")
        self.succeed("run", "case", "-o", "reference", "--kernel", REFERENCE, "--verify")
        self.compare(WORK / "out", WORK / "reference")
        result, metadata = read_safetensors(WORK / "out")
        self.assertEqual((metadata["window"], metadata["soft_cap"]), ("2", "1.5"))
        keys = [[(first + k) / 16 for k in range(4)] for first in (12, 0)]  # tokens 1 and 2
        for head, sink in enumerate((1.0, -1.0)):
            q = [4 * head + k for k in range(4)]
            scores = [0.5 * sum(x * y for x, y in zip(q, key)) for key in keys]
            scores = [1.5 * math.tanh(score / 1.5) for score in scores]
            total = sum(math.exp(score) for score in scores)
            self.assertAlmostEqual(result["max_logits"][1][head], max(scores), places=5)
            self.assertAlmostEqual(result["lse"][1][head], math.log(total), places=5)
            for k in range(4):
                expected = sum(math.exp(s) * key[k] for s, key in zip(scores, keys))
                self.assertAlmostEqual(result["out"][1][4 * head + k],
                                       expected / (total + math.exp(sink)), places=5)

    def test_ragged_queries(self):
        # Each query token of a ragged case is what it is in a case of its own length.
        self.succeed("make-case", "-o", "case", "--heads", 3, "--lens", "70,5,130", "--page-size",
                     61, "--query-lens", "2,0,4", "--causal", "--seed", 4)
        inputs, _ = read_safetensors(WORK / "case")
        self.assertEqual((inputs["q"][0], inputs["cu_seqlens_q"]),
                         ([6, 3, 576], ([4], (0, 2, 2, 6))))
        summary = json.loads(self.succeed("run", "case", "-o", "fast", "--verify", "--max-logits",
                                          "--json").stdout)
        self.assertEqual((summary["ragged"], summary["query_tokens"], summary["s_q"]), (True, 6, 4))
        self.assertLessEqual(summary["error_of_bound"], 1)
        text = self.succeed("run", "case", "-o", "slow", "--kernel", REFERENCE).stdout
        self.assertIn("q          [6, 3, 576] bf16, ragged: up to 4 query tokens", text)
        result = self.compare(WORK / "fast", WORK / "slow")
        self.assertEqual((result["out"][0], result["lse"][0], result["max_logits"][0]),
                         ([6, 3, 512], [3, 6], [3, 6]))
        # Alone, the last sequence has the same lse for its four tokens.
        raw = self.raw(WORK / "case")
        (_, columns), pages = inputs["block_table"]
        write_safetensors(WORK / "alone", {
            "kv_cache": raw["kv_cache"],
            "block_table": ("I32", [1, columns], ints(*pages[2 * columns:])),
            "seq_lens": ("I32", [1], ints(130)),
            "q": ("BF16", [1, 4, 3, 576], raw["q"][2][2 * 3 * 576 * 2:])}, {"causal": "true"})
        self.succeed("run", "alone", "-o", "alone_out", "--kernel", REFERENCE)
        alone, _ = read_safetensors(WORK / "alone_out")
        slow, _ = read_safetensors(WORK / "slow")
        for head in range(3):
            for token in range(4):
                self.assertEqual(alone["lse"][1][head * 4 + token],
                                 slow["lse"][1][head * 6 + 2 + token])
        self.assertEqual(alone["out"][1], slow["out"][1][2 * 3 * 512:])

    def test_ragged_cases_are_explained_planned_and_converted(self):
        self.succeed("make-case", "-o", "case", "--heads", 3, "--lens", "70,5", "--query-lens",
                     "2,1")
        explained = json.loads(self.succeed("explain", "case", "--json").stdout)
        self.assertTrue(explained["problem"]["ragged"])
        self.assertEqual(explained["problem"]["s_q"], 2)
        self.assertEqual(explained["flops"], 2 * (2 * 70 + 1 * 5) * 3 * (576 + 512))
        self.assertEqual(explained["bytes"], 2 * (75 * 576 + 3 * 3 * (576 + 512)))
        by_flags = json.loads(self.succeed("explain", "--heads", 3, "--lens", "70,5",
                                           "--query-lens", "2,1", "--json").stdout)
        for name in ("flops", "bytes", "kernel", "workspace_bytes"):
            self.assertEqual(by_flags[name], explained[name])
        self.assertTrue(by_flags["problem"]["ragged"])
        self.succeed("plan", "case")
        self.succeed("profile", "case", "--device", "cpu")
        self.succeed("cache", "convert", "case", "-o", "fp8", "--to", "fp8_656")
        self.succeed("run", "fp8", "--verify")
        self.refuse("explain", "case", "--batch", 3, part="ragged queries of 2 sequences, asked for")
        self.refuse("make-case", "-o", "x", "--batch", 3, "--query-lens", "1,2",
                    part="--query-lens: 2 numbers, needed: 3")
        self.refuse("make-case", "-o", "x", "--batch", 2, "--query-lens", "0,0",
                    part="no query token at all")
        self.refuse("make-case", "-o", "x", "--batch", 2, "--s-q-min", "3", part="[3, 1]")

    @staticmethod
    def raw(path):
        """Tensors as write_safetensors takes them."""
        content = path.read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8:8 + length])
        header.pop("__metadata__", None)
        return {name: (entry["dtype"], entry["shape"],
                       content[8 + length:][slice(*entry["data_offsets"])])
                for name, entry in header.items()}

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
        with zipfile.ZipFile(WORK / "case.npz", "w") as archive:
            archive.writestr("q.npy", b"\0" * 100)
        self.refuse("run", "case.npz", "-o", "out", part="a zip archive")
        tensors = small_case()
        tensors["query"] = tensors.pop("q")
        write_safetensors(WORK / "renamed", tensors)
        self.refuse("run", "renamed", "-o", "out", part="query")
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
        self.run_case("b = 2, q has 1", seq_lens=("I32", [2], ints(3, 3)))
        self.run_case("q: shape [0, 1, 2, 4]", q=("F32", [0, 1, 2, 4], b""))
        self.run_case("h_q = 3", q=("F32", [1, 1, 3, 4], bytes(48)),
                      kv_cache=("F32", [1, 2, 2, 4], bytes(64)))

    def test_values(self):
        self.run_case("-1", seq_lens=("I32", [1], ints(-1)))
        self.run_case("5", seq_lens=("I32", [1], ints(5)))
        self.run_case("7", block_table=("I32", [1, 2], ints(1, 7)))
        self.run_case("-2", block_table=("I32", [1, 2], ints(-2, 0)))
        self.run_case("cu_seqlens_q: element 1 = 2, allowed: 1 to 1", q=("F32", [1, 2, 4], bytes(32)),
                      cu_seqlens_q=("I32", [2], ints(0, 2)))
        self.run_case("q: shape [1, 1, 2, 4], allowed: [total_q, h_q, d_qk]",
                      cu_seqlens_q=("I32", [2], ints(0, 1)))

    def test_options(self):
        write_safetensors(WORK / "case", small_case())
        self.refuse("run", "case", "-o", "out", "--scale", "nan", part="--scale: nan")
        self.refuse("run", "case", "-o", "out", "--scale", "inf", part="--scale: inf")
        self.refuse("run", "case", "-o", "out", "--lse-base", "10", part="--lse-base: lse_base = 10")
        self.refuse("run", "case", "-o", "out", "--kernel", "no.such", part="no.such")
        self.refuse("run", "case", "-o", "out", "--device", "tpu", part="--device: tpu")
        self.refuse("run", "case", "-o", "out", "--d-v", "5", part="d_v = 5")
        self.refuse("run", "case", "-o", "out", "--repeat", "0", part="--repeat: 0")
        self.refuse("run", "case", "-o", "out", "--bogus", part="--bogus")
        self.refuse("run", "case", part="-o: no output is named")
        self.refuse("make-case", "-o", "x", "--heads", "0", part="h_q = 0")
        self.refuse("make-case", "-o", "x", "--page-size", "0", part="page_size = 0")
        self.refuse("make-case", "-o", "x", "--batch", "-3", part="batch = -3")
        self.refuse("make-case", "-o", "x", "--len", "-3", part="lengths")
        self.refuse("make-case", "-o", "x", "--dtype", "int8", part="--dtype")
        self.refuse("make-case", "-o", "x", "--spare-pages", "-1", part="pages")
        self.refuse(part="no command")
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

    def test_verify_passes_right_results_of_every_draw(self):
        for values in ("suite", "normal", "peaked", "heavy", "cancel"):
            for dtype in ("bf16", "fp16", "fp32"):
                with self.subTest(values=values, dtype=dtype):
                    self.succeed("make-case", "-o", "case", "--batch", 2, "--heads", 3, "--len", 300,
                                 "--dtype", dtype, "--values", values)
                    self.succeed("run", "case", "--verify", "--repeat", 1)
        self.refuse("make-case", "-o", "x", "--values", "odd", part="--values")

    def test_verify_needs_no_output(self):
        self.succeed("make-case", "-o", "case", "--batch", 2, "--heads", 3, "--len", 130)
        self.assertIn("not written", self.succeed("run", "case", "--verify").stdout)
        summary = json.loads(self.succeed("run", "case", "--verify", "--json").stdout)
        self.assertIsNone(summary["output"])
        self.assertEqual(self.leftovers(), ["case"])

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
            place = {"out": "out[0, 0, 0, 0]", "lse": "lse[0, 0, 0]"}[tensor]
            self.assertIn(f"out of bound against the reference: {place}", result.stderr)
            self.assertIn(f"1 of {2 * 3 * 512 if tensor == 'out' else 2 * 3}", result.stderr)
            self.assertEqual(self.leftovers(), ["case", "out"])
            self.assertNotEqual((WORK / "out").read_bytes(), b"precious")  # to look at

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


if __name__ == "__main__":
    main()
