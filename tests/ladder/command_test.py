#!/usr/bin/env python3
"""The ladder's programs from outside, on the CPU: command lines, outputs, signals.

Usage: command_test.py SEESAW_LADDER SEESAW_LADDER_TUNE WORK_FOLDER [sanitized]
Needs nothing but the standard library.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

LADDER = TUNE = ""
WORK = pathlib.Path()
SANITIZED = False
TINY = ["--heads", "1", "--tokens", "64"]
# Where, what arrived, what is allowed, what to do.
FOUR_PARTS = re.compile(r"\A[^\n]+: [^\n]+, allowed: [^\n]+\. [^\n]+\.\n\Z")


def environment():
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}


def run(program, *arguments, **more):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 300, "cwd": WORK,
               "env": environment()}
    options.update(more)
    return subprocess.run([os.fsencode(a) for a in (program, *arguments)], **options)


class FromOutside(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)

    def files(self):
        return sorted(path.name for path in WORK.iterdir())

    def assert_refused(self, result, *words, code=2):
        message = result.stderr.decode()
        self.assertEqual(result.returncode, code, message)
        self.assertRegex(message, FOUR_PARTS)
        for word in words:
            self.assertIn(word, message)
        return message

    def assert_done(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.decode()


class Both(FromOutside):
    def test_a_bad_command_line_is_one_line(self):
        for program, name in ((LADDER, "seesaw ladder"), (TUNE, "seesaw tune ladder")):
            for arguments in (["--batch", "x"], ["--nothing"], ["word"], ["--batch", "1\n2"]):
                result = run(program, *arguments)
                self.assert_refused(result, name + ": ", f"`{name} --help`")
                self.assertEqual(result.stdout, b"")

    def test_help_is_no_error(self):
        for program in (LADDER, TUNE):
            result = run(program, "--help")
            self.assertIn("--json", self.assert_done(result))
            self.assertEqual(result.stderr, b"")

    def test_a_problem_too_large_for_the_memory(self):
        if SANITIZED:
            self.skipTest("sanitizers reserve more than any limit")

        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

        for program in (LADDER, TUNE):
            result = run(program, "--batch", "64", "--tokens", "65536", preexec_fn=limit)
            self.assert_refused(result, "out of memory", "fewer or shorter sequences", code=3)

    def test_outputs_are_refused_before_the_climb(self):
        (WORK / "folder").mkdir()
        # Refused at once: nothing of this size is climbed in the time that run() waits.
        slow = ["--batch", "1024", "--heads", "1024", "--tokens", "1048576"]
        for program, option in ((LADDER, "--json"), (TUNE, "--json")):
            for path in ("absent/file", "folder", "/dev/null", "", "a" * 300):
                result = run(program, *slow, option, path, timeout=20)
                self.assert_refused(result, option + ": ")
        self.assertEqual(self.files(), ["folder"])

    def test_a_full_disk_leaves_the_old_file(self):
        def limit():  # as a full disk: writing beyond 1,024 bytes, which clang's OpenMP takes, fails
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

        for program, option, more in ((LADDER, "--json", []), (TUNE, "--json", ["--budget", "0.1"])):
            (WORK / "old").write_text("old")
            result = run(program, *TINY, *more, option, "old", preexec_fn=limit,
                         restore_signals=False)
            self.assert_refused(result, option + ": old cannot be written")
            self.assertEqual((WORK / "old").read_text(), "old")
            self.assertEqual(self.files(), ["old"])

    def test_a_link_stays_a_link(self):
        (WORK / "real.json").write_text("old")
        (WORK / "link.json").symlink_to("real.json")
        self.assert_done(run(LADDER, *TINY, "--json", "link.json"))
        self.assertTrue((WORK / "link.json").is_symlink())
        self.assertEqual(json.loads((WORK / "real.json").read_text())["benchmark"], "ladder")

    def test_standard_output_that_takes_nothing(self):
        for program, more in ((LADDER, []), (LADDER, ["--json", "-"]), (LADDER, ["--help"]),
                              (TUNE, ["--budget", "0.1"])):
            with open("/dev/full", "wb") as full:
                result = run(program, *TINY, *more, stdout=full)
            self.assert_refused(result, "standard output: ")

    def test_a_minus_is_standard_output(self):
        report = json.loads(self.assert_done(run(LADDER, *TINY, "--json", "-")))
        self.assertEqual(report["benchmark"], "ladder")
        tuned = json.loads(self.assert_done(run(TUNE, *TINY, "--budget", "0.1", "--json", "-")))
        self.assertGreater(len(tuned["variants"]), 30)
        self.assertEqual(self.files(), [])


class Ladder(FromOutside):
    def test_a_commit_that_is_no_utf8(self):
        self.assert_done(run(LADDER, *TINY, "--commit", b"a\xff\x01", "--json", "f"))
        report = json.loads((WORK / "f").read_text())
        self.assertEqual(report["commit"], "a\ufffd\x01")
        self.assertRegex(report["command"], "^seesaw ladder --heads 1 .* a\ufffd\x01 --json f$")

    def test_checking_measures_nothing(self):
        report = json.loads(self.assert_done(run(LADDER, *TINY, "--check", "--json", "-")))
        cpu = report["rungs"][-1]
        self.assertTrue(cpu["correct"])
        self.assertFalse({"microseconds_median", "runs", "method"} & cpu.keys())

    def test_the_cpu_row_says_how_it_was_measured(self):
        report = json.loads(self.assert_done(run(LADDER, *TINY, "--json", "-")))
        cpu = report["rungs"][-1]
        self.assertTrue(report["device"].startswith("CPU"), report["device"])
        self.assertNotIn("method", report)  # of rungs on a GPU: none ran
        self.assertIn("on the CPU", cpu["method"])
        self.assertGreaterEqual(cpu["runs"], 3)
        self.assertLessEqual(cpu["microseconds_fastest"], cpu["microseconds_median"])

    def test_budgets(self):
        for budget in ("nan", "inf", "-inf", "0", "-5"):
            self.assert_refused(run(LADDER, *TINY, "--budget-ms", budget), "--budget-ms")

    def test_options_that_would_not_count(self):
        for arguments in (["--seq-lens", "5", "--batch", "3"], ["--seq-lens", "5", "--tokens", "4"]):
            self.assert_refused(run(LADDER, *arguments))
        self.assertEqual(self.files(), [])

    def test_lists(self):
        for text in ("1,,2", ",1", "1,", "", "1, 2", "0", "-1", "1048577", "1.5", "x"):
            self.assert_refused(run(LADDER, f"--seq-lens={text}"))
        for text in ("1,,2", "12", "0"):
            self.assert_refused(run(LADDER, *TINY, "--rungs", text), "--rungs")
        for words in (["1,63,64"], ["1", "63", "64"], ["1,63", "64"]):
            report = json.loads(self.assert_done(
                run(LADDER, "--heads", "1", "--check", "--rungs", "9,10", "--json", "-",
                    "--seq-lens", *words)))
            self.assertEqual(report["problem"]["seq_lens"], [1, 63, 64])
            self.assertEqual([rung["rung"] for rung in report["rungs"]], [9, 10, 0])


class TuneLadder(FromOutside):
    def test_budgets(self):
        for budget in ("nan", "inf", "-5", "0"):
            self.assert_refused(run(TUNE, *TINY, "--budget", budget), "--budget")

    def test_the_race_goes_on_for_the_whole_budget(self):
        start = time.monotonic()
        tuned = json.loads(self.assert_done(
            run(TUNE, "--heads", "1", "--tokens", "1", "--budget", "3", "--json", "-")))
        self.assertGreaterEqual(time.monotonic() - start, 3)
        self.assertGreater(max(variant["runs"] for variant in tuned["variants"]), 60)
        self.assertTrue(all(variant["us"] > 0 for variant in tuned["variants"]))

    def test_a_signal_keeps_what_was_found(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            file = WORK / "tuned.json"
            process = subprocess.Popen([TUNE, *TINY, "--budget", "250", "--json", file],
                                       cwd=WORK, env=environment(), stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            self.wait_until_caught(process, number)
            time.sleep(0.5)  # for a few settings
            process.send_signal(number)
            out, _ = process.communicate(timeout=100)
            self.assertEqual(process.returncode, 130, out)
            self.assertIn(b"device: CPU", out)
            self.assertTrue(json.loads(file.read_text())["variants"])
            file.unlink()
            self.assertEqual(self.files(), [])

    def wait_until_caught(self, process, number):
        for _ in range(1000):
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
            if caught >> (number - 1) & 1:
                return
            time.sleep(0.02)
        process.kill()
        self.fail(f"{number!r} is not caught")


if __name__ == "__main__":
    LADDER, TUNE = map(os.path.abspath, sys.argv[1:3])
    WORK = pathlib.Path(sys.argv[3]).absolute()
    SANITIZED = "sanitized" in sys.argv[4:]
    unittest.main(argv=sys.argv[:1])
