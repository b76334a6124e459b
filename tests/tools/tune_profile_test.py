#!/usr/bin/env python3
"""seesaw tune and seesaw profile from outside.

Usage: tune_profile_test.py SEESAW WORK_FOLDER NCU_SAMPLE. Needs nothing but the standard library.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest

SEESAW = ""
WORK = pathlib.Path()
SAMPLE = ""
SHAPE = ["--batch", "3", "--heads", "16", "--len", "500"]


def environment(**changes):
    result = {name: value for name, value in os.environ.items() if name != "SEESAW_TUNE_FILE"}
    result.update(changes)
    return result


def run(*arguments, **changes):
    return subprocess.run([SEESAW, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, cwd=WORK, env=environment(**changes))


class Tune(unittest.TestCase):
    def setUp(self):
        self.file = WORK / "tune.json"
        self.file.unlink(missing_ok=True)

    def tune(self, *arguments, **changes):
        result = run("tune", *SHAPE, "--budget", "0.5", "-o", self.file, *arguments, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def explained(self, *shape, tuning):
        result = run("explain", *(shape or SHAPE), "--json", SEESAW_TUNE_FILE=str(tuning))
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_what_it_writes_is_what_plans_use(self):
        found = json.loads(self.tune("--json").stdout)
        written = json.loads(self.file.read_text())
        self.assertEqual(written["seesaw_tuning"], 1)
        (entry,) = written["entries"]
        self.assertEqual(entry["match"], found["key"])
        self.assertEqual(entry["set"], found["set"])
        measured = entry["measured"]
        for name in ("default_us", "tuned_us", "speedup"):
            spread = measured[name]
            self.assertTrue(0 < spread["p10"] <= spread["median"] <= spread["p90"], measured)
        self.assertGreaterEqual(measured["pairs"], 3)
        if entry["set"]:  # only what was faster is kept
            self.assertGreater(measured["speedup"]["median"], 1)

        explained = self.explained(tuning=self.file)
        self.assertTrue(explained["tuned"], explained["tuning"])
        self.assertEqual(explained["tuning_key"], entry["match"])
        for name, value in entry["set"].items():
            self.assertEqual(explained[name], value)

    def test_explain_says_whether_it_is_used(self):
        entry = json.loads(self.tune("--json").stdout)["key"]
        text = json.dumps({"seesaw_tuning": 1, "seesaw_version": self.version(), "entries": [
            {"match": entry, "set": {"chunk_tokens": 448, "num_workers": 1}}]})
        self.file.write_text(text)
        used = self.explained(tuning=self.file)
        self.assertEqual((used["tuned"], used["chunk_tokens"], used["num_workers"]), (True, 448, 1))
        self.assertIn("chunk_tokens 448", used["tuning"])
        shown = run("explain", *SHAPE, "--tuning", self.file).stdout
        self.assertRegex(shown, r"(?m)^tuning .*chunk_tokens 448, num_workers 1$")
        other = self.explained("--batch", "3", "--heads", "17", "--len", "500", tuning=self.file)
        self.assertFalse(other["tuned"])
        self.assertIn("none for this shape", other["tuning"])
        invariant = self.explained(*SHAPE, "--batch-invariant", tuning=self.file)
        self.assertFalse(invariant["tuned"])
        elsewhere = dict(entry, device="another machine")
        self.file.write_text(text.replace(json.dumps(entry), json.dumps(elsewhere)))
        self.assertIn("for this device", self.explained(tuning=self.file)["tuning"])

    def version(self):
        return run("--version").stdout.split()[1]

    def test_a_tuned_run_passes_verification(self):
        key = json.loads(self.tune("--json").stdout)["key"]
        run("make-case", "-o", "tuned.safetensors", *SHAPE)
        for setting in ({"chunk_tokens": 64}, {"chunk_tokens": 1024, "num_workers": 1},
                        {"piece_cost_tiles": 16}):
            self.file.write_text(json.dumps({
                "seesaw_tuning": 1, "seesaw_version": self.version(),
                "entries": [{"match": key, "set": setting}]}))
            result = run("run", "tuned.safetensors", "-o", "out.safetensors", "--verify",
                         "--tuning", self.file)
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_second_shape_is_added(self):
        self.tune()
        second = run("tune", "--batch", "1", "--heads", "4", "--len", "100", "--budget", "0.2",
                     SEESAW_TUNE_FILE=str(self.file))
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertIn("1 other entries kept", second.stdout)
        self.assertEqual(len(json.loads(self.file.read_text())["entries"]), 2)

    def test_a_damaged_file_is_refused_everywhere(self):
        self.file.write_text('{"seesaw_tuning": 1, "entries": [')
        result = run("explain", *SHAPE, SEESAW_TUNE_FILE=str(self.file))
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, r"^tuning_file: .*, allowed: .*\. .*SEESAW_TUNE_FILE\.$")
        result = run("tune", *SHAPE, "--budget", "0.1", "-o", self.file)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(self.file.read_text(), '{"seesaw_tuning": 1, "entries": [')

    def test_a_file_of_brackets_is_refused(self):
        text = '{"seesaw_tuning": 1, "entries": ' + "[" * 200000 + "]" * 200000 + "}"
        self.file.write_text(text)
        result = run("tune", *SHAPE, "--budget", "0.1", "-o", self.file, "--tuning", "none")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(self.file.read_text(), text)

    def test_usage(self):
        for arguments, words in ((["--budget", "0"], "--budget"),
                                 (["--batch-invariant"], "nothing to tune"),
                                 (["--tuning", "f.json"], "-o"),
                                 (["--kernel", "reference.dense_decode"], "something to tune"),
                                 (["--max-tokens", "100"], "--max-tokens")):
            result = run("tune", *SHAPE, "-o", self.file, *arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(words, result.stderr)
            self.assertFalse(self.file.exists())

    def test_plans_for_more_tokens_than_there_are(self):
        key = json.loads(self.tune("--json", "--max-tokens", "30000").stdout)["key"]
        self.assertEqual(key["max_pages_per_sequence_class"], 512)

    def test_interruption_keeps_what_was_found(self):
        slow = ["--batch", "3", "--heads", "64", "--len", "20000"]  # a round alone takes a while
        process = subprocess.Popen(
            [SEESAW, "tune", *slow, "--budget", "600", "-o", str(self.file), "--progress"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=WORK, env=environment())
        self.assertIn("tune: ", process.stderr.readline() + process.stderr.readline())  # at work
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)  # sanitized: a measurement takes minutes
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn(str(self.file), errors)
        (entry,) = json.loads(self.file.read_text())["entries"]
        self.assertTrue(entry["measured"]["stopped_early"])
        self.assertTrue(self.explained(*slow, tuning=self.file)["tuned"])


class Profile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        result = run("make-case", "-o", "case.safetensors", "--batch", "2", "--heads", "24",
                     "--len", "900", "--causal", "--s-q", "2")
        assert result.returncode == 0, result.stderr

    def test_timeline(self):
        result = run("profile", "case.safetensors", "--threads", "2", "--trace", "trace.json",
                     "--json=profile.json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("cpu.dense_decode on cpu, num_workers 2", result.stdout)
        self.assertRegex(result.stdout, r"(?m)^- 2 lanes took [0-9.]+ us")
        profile = json.loads((WORK / "profile.json").read_text())
        self.assertEqual(profile["tool"], "timeline")
        steps = {step["step"]: step for step in profile["timeline"]["steps"]}
        for name in ("query", "scores", "softmax", "accumulate", "wait"):
            self.assertGreater(steps[name]["share"], 0, name)
        self.assertLessEqual(sum(step["share"] for step in steps.values()), 1.0001)
        events = json.loads((WORK / "trace.json").read_text())["traceEvents"]
        self.assertEqual(sum(event["ph"] == "X" for event in events), profile["spans"])
        self.assertEqual({event["pid"] for event in events}, {1, 2})

    def test_usage(self):
        for arguments, words in ((["--tool", "magic"], "--tool"),
                                 (["--tool", "ncu"], "needed: --device cuda"),
                                 (["--rung", "2"], "a case and --rung"),
                                 (["--heads", "16"], "are for --rung"),
                                 (["--kernel", "reference.dense_decode"], "traced variant")):
            result = run("profile", "case.safetensors", *arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(words, result.stderr)

    def test_options_that_would_be_ignored(self):
        case = ["case.safetensors"]
        rung = ["--rung", "2", "--device", "cuda"]
        cuda = [*case, "--device", "cuda"]
        for arguments, words in (
                ([*case, "--ncu-csv", "x"], "--ncu-csv: given on cpu"),
                ([*case, "--ncu", "x"], "--ncu: given on cpu"),
                ([*case, "--trace", "-"], "--trace: -, standard output"),
                ([*case, "--trace", ""], "--trace: an empty path"),
                ([*cuda, "--ncu-csv", "-"], "--ncu-csv: -"),
                ([*cuda, "--ncu-csv", "x", "--tool", "timeline"], "--ncu-csv: given with --tool"),
                ([*cuda, "--trace", "x", "--tool", "ncu"], "--trace: given with --tool"),
                ([*cuda, "--trace", "x", "--ncu", "y"], "--trace: given with --ncu"),
                ([*cuda, "--trace", "x", "--ncu-csv", "y"], "--trace: given with --ncu-csv"),
                *(([*rung, *option], option[0] + ": given with --rung") for option in (
                    ["--kernel", "k"], ["--tuning", "none"], ["--threads", "1"],
                    ["--lse-base", "2"], ["--batch-invariant"], ["--trace", "x"]))):
            result = run("profile", *arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertRegex(result.stderr, r"^[^\n]+: [^\n]+, [^\n]+\. [^\n]+\.\n$")
            self.assertIn(words, result.stderr)
            self.assertEqual(result.stdout, "")

    def test_ncu_is_asked_about_the_same_call(self):
        arguments = WORK / "arguments"
        ncu = self.ncu(f'echo "$@" > "{arguments}"; cat "{SAMPLE}" > "$log"\n')
        result = run("profile", "case.safetensors", "--device", "cuda", "--ncu", ncu, "--lse-base",
                     "2", "--batch-invariant", "--kernel", "k", "--tuning", "none")
        self.assertEqual(result.returncode, 0, result.stderr)
        for option in ("--lse-base 2", "--batch-invariant", "--kernel k", "--tuning none"):
            self.assertIn(option, arguments.read_text())

    def ncu(self, text):
        """A program in ncu's place that finds its --log-file as ncu does."""
        path = WORK / "ncu"
        path.write_text('#!/bin/sh\nwhile [ "$1" != --log-file ]; do shift; done\nlog=$2\n' + text)
        path.chmod(0o755)
        return path

    def test_counters_are_read_and_explained(self):
        ncu = self.ncu(f'echo "==PROF== Connected" > "$log"; cat "{SAMPLE}" >> "$log"\n')
        result = run("profile", "case.safetensors", "--device", "cuda", "--ncu", ncu,
                     "--json=counters.json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Nearest to its limit: ", result.stdout)
        kernels = json.loads((WORK / "counters.json").read_text())["kernels"]
        self.assertTrue(any("dense_decode_kernel" in kernel["kernel"] for kernel in kernels))

    def test_a_rung_is_run_by_the_ladder(self):
        arguments = WORK / "arguments"
        ncu = self.ncu(f'echo "$@" > "{arguments}"; cat "{SAMPLE}" > "$log"\n')
        result = run("profile", "--rung", "2", "--heads", "16", "--device", "cuda", "--ncu", ncu)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Nearest to its limit: ", result.stdout)
        self.assertRegex(arguments.read_text(), r"seesaw_ladder --check --rungs 2 --heads 16$")
        for arguments, words in (([], "nothing to run"), (["--rung", "12"], "--rung"),
                                 (["--rung", "1"], "Add --device cuda"),
                                 (["--rung", "1", "--tool", "timeline"], "timeline with --rung")):
            result = run("profile", *arguments)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(words, result.stderr)

    def test_counters_that_are_forbidden(self):
        ncu = self.ncu('echo "==ERROR== ERR_NVGPUCTRPERM - no permission" > "$log"; exit 1\n')
        result = run("profile", "case.safetensors", "--device", "cuda", "--ncu", ncu,
                     "--tool", "ncu")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("ERR_NVGPUCTRPERM", result.stderr)
        self.assertIn("--tool timeline", result.stderr)
        result = run("profile", "case.safetensors", "--device", "cuda", "--ncu", ncu,
                     "--ncu-csv", "x")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("ERR_NVGPUCTRPERM", result.stderr)


if __name__ == "__main__":
    SEESAW, work, SAMPLE = (os.path.abspath(path) for path in sys.argv[1:4])
    WORK = pathlib.Path(work)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    del sys.argv[1:4]
    unittest.main()
