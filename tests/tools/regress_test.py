#!/usr/bin/env python3
"""bench/regress.py on the recorded results, on copies of them with a known change, and on files of
every kind made here.

Usage: regress_test.py RESULTS_FOLDER. Needs nothing but Python's standard library.
"""
import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import regress  # noqa: E402
import result_files  # noqa: E402

RESULTS = pathlib.Path()


def recorded(pattern):
    found = sorted(RESULTS.glob(pattern))
    if not found:
        raise AssertionError(f"no recorded result {pattern} in {RESULTS}")
    return found


def recorded_gpu():
    """Files of seesaw_bench_gpu, by what they hold: a list of rows with spreads."""
    def is_one(record):
        rows = record.get("results")
        return isinstance(rows, list) and bool(rows) and "us_p10" in rows[0]

    found = [path for path in recorded("h200/*.json") if is_one(json.loads(path.read_text()))]
    if not found:
        raise AssertionError(f"no result of seesaw_bench_gpu in {RESULTS}/h200")
    return found


def seesaw_results(times, **changes):
    """As `seesaw bench` and seesaw_bench_gpu write them. times: {s_k: (p10, median, p90)}."""
    rows = [
        {"op": "dense_decode", "kernel": "sm90.dense_decode.bf16", "b": 4, "h_q": 128, "s_k": s_k,
         "varlen": False, "us": us, "us_p10": p10, "us_p90": p90, "clock_mhz": 1800.0}
        for s_k, (p10, us, p90) in times.items()
    ]
    return {"device": "a GPU", "commit": "abc", "driver": "1", "num_sms": 132,
            "roofs": {"cublas_bf16_tflops": 780.0, "hbm_read_gbps": 4600.0}, "results": rows,
            **changes}


def google_benchmark(times, **context):
    """times: {name: [repetitions in ms]}."""
    rows = [
        {"name": name, "run_name": name, "run_type": "iteration", "repetition_index": i,
         "real_time": time, "time_unit": "ms"}
        for name, repetitions in times.items() for i, time in enumerate(repetitions)
    ]
    return {"context": {"num_cpus": 2, "mhz_per_cpu": 2600, "caches": [],
                        "bf16_dot_gflops_1": "450.0", **context}, "benchmarks": rows}


class RegressTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def path(self, content, name):
        if isinstance(content, pathlib.Path):
            return content
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def run_tool(self, before, after, *options):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = regress.main([str(self.path(before, "before.json")),
                                 str(self.path(after, "after.json")), *options])
        return code, out.getvalue(), err.getvalue()

    def report(self, before, after, *options):
        code, out, err = self.run_tool(before, after, "--json", *options)
        self.assertEqual(err, "")
        return code, json.loads(out)

    def verdicts(self, before, after, *options):
        code, report = self.report(before, after, *options)
        return code, {change["case"]: change["verdict"] for change in report["changes"]}

    def refused(self, part, before, after, *options):
        code, out, err = self.run_tool(before, after, *options)
        self.assertEqual((code, out), (2, ""))
        self.assertIn(part, err)
        self.assertRegex(err, r"(?s)^[^\n]+: .+, allowed: [^\n]+\. [^\n]+\.\n$")


class Recorded(RegressTest):
    def each(self):
        yield from recorded("*/*-cpu-bench.json")
        yield from recorded_gpu()
        yield from recorded("*/*-python-numpy.json")
        yield from recorded("h200/*-ladder-b*.json")

    def test_a_file_against_itself_moved_nothing(self):
        for path in self.each():
            with self.subTest(path.name):
                code, report = self.report(path, path)
                self.assertEqual(code, 0)
                self.assertGreater(len(report["changes"]), 3)
                self.assertEqual(report["same"], len(report["changes"]))
                self.assertEqual(report["only_before"] + report["only_after"], [])

    def test_a_planted_slowdown_is_found_and_no_other(self):
        for path in recorded_gpu():
            data = json.loads(path.read_text())
            slowed = copy.deepcopy(data)
            case = result_files.name_of(data["results"][-1])
            for row in slowed["results"]:
                if result_files.name_of(row) == case:
                    row.update({name: row[name] * 10 for name in ("us", "us_p10", "us_p90")})
            code, report = self.report(data, slowed)
            self.assertEqual(code, 1)
            self.assertEqual((report["slower"], report["faster"]), (1, 0))
            self.assertAlmostEqual(report["changes"][0]["change"], 9)
            code, report = self.report(slowed, data)
            self.assertEqual((code, report["slower"], report["faster"]), (0, 0, 1))

    def test_a_planted_slowdown_of_repetitions(self):
        data = json.loads(recorded("*/*-cpu-bench.json")[0].read_text())
        slowed = copy.deepcopy(data)
        name = data["benchmarks"][0]["run_name"]
        for row in slowed["benchmarks"]:
            row["real_time"] *= 10 if row["run_name"] == name else 1
        code, report = self.report(data, slowed)
        self.assertEqual((code, report["slower"]), (1, 1))
        self.assertEqual(report["changes"][0]["case"], name)

    def test_the_halves_of_a_run_do_not_differ(self):
        """The repetitions of one run, dealt to two files: what differs is noise."""
        for path in recorded("*/*-cpu-bench.json"):
            data = json.loads(path.read_text())
            halves = copy.deepcopy(data), copy.deepcopy(data)
            for i, half in enumerate(halves):
                half["benchmarks"] = [row for row in data["benchmarks"]
                                      if row.get("repetition_index", 0) % 2 == i]
            _, report = self.report(*halves)
            moved = report["slower"] + report["faster"]
            self.assertLessEqual(moved, 0.05 * len(report["changes"]), path.name)

    def test_two_runs_of_one_machine_are_comparable(self):
        first = recorded("amd-epyc-zen5-2cpu/*-cpu-bench.json")[0]
        second = json.loads(first.read_text())  # as on a busier day
        second["context"]["bf16_dot_gflops_1"] = str(
            0.9 * float(second["context"]["bf16_dot_gflops_1"]))
        for row in second["benchmarks"]:
            row["real_time"] *= 1.05
        code, report = self.report(first, second)
        self.assertIn(code, (0, 1))
        self.assertEqual(report["machine_differs"], [])
        self.assertIn("bf16_dot_gflops_1", report["machine_moved_by"])
        self.assertGreater(len(report["changes"]), 0)

    def test_a_gpu_and_a_cpu_are_not(self):
        self.refused("files of one kind", recorded("*/*-cpu-bench.json")[0],
                     recorded("h200/*-ladder-b4.json")[0])
        self.refused("problem batch 4", recorded("h200/*-ladder-b4.json")[0],
                     recorded("h200/*-ladder-b64.json")[0])

    def test_a_ladder_without_a_gpu_is_read(self):
        """Only the CPU build was timed, and no empty kernel."""
        record = json.loads(recorded("h200/*-ladder-b4.json")[0].read_text())
        record["rungs"] = [{"rung": rung["rung"], "idea": rung["idea"],
                            "error": "needs a Hopper GPU"} for rung in record["rungs"]]
        record["rungs"].append({"rung": 0, "idea": "CPU", "microseconds_median": 20.0,
                                "microseconds_fastest": 19.0})
        del record["microseconds_of_an_empty_kernel"]
        code, report = self.report(record, record)
        self.assertEqual((code, [change["case"] for change in report["changes"]]),
                         (0, ["rung 0: CPU"]))


class Judgement(RegressTest):
    def test_ranges_that_overlap_are_noise(self):
        before = seesaw_results({1024: (90, 100, 130), 2048: (99, 100, 101)})
        after = seesaw_results({1024: (125, 129, 140), 2048: (108, 110, 112)})
        code, verdicts = self.verdicts(before, after)
        self.assertEqual(code, 1)
        self.assertEqual(sorted(verdicts.values()), ["same", "slower"])
        self.assertEqual([name for name, verdict in verdicts.items() if verdict == "slower"],
                         ["dense_decode b=4 h_q=128 s_k=2048"])

    def test_small_changes_are_none_however_sharp(self):
        before = seesaw_results({1024: (99.9, 100, 100.1)})
        after = seesaw_results({1024: (101.9, 102, 102.1)})
        self.assertEqual(self.verdicts(before, after)[0], 0)
        self.assertEqual(self.verdicts(before, after, "--threshold", "0.01")[0], 1)

    def test_a_slower_machine_raises_the_bar_for_slower_only(self):
        before = seesaw_results({1024: (99, 100, 101), 2048: (99, 100, 101)})
        times = {1024: (109, 110, 111), 2048: (89, 90, 91)}
        roofs = {"cublas_bf16_tflops": 690.0, "hbm_read_gbps": 4600.0}  # 13 % longer times
        code, report = self.report(before, seesaw_results(times, roofs=roofs))
        self.assertEqual((code, report["slower"], report["faster"]), (0, 0, 1))
        self.assertAlmostEqual(report["least_change"]["slower"], 780 / 690 - 1)
        self.assertAlmostEqual(report["least_change"]["faster"], 0.03)
        text = self.run_tool(before, seesaw_results(times, roofs=roofs))[1]
        self.assertIn("machine cublas_bf16_tflops 780 -> 690 (-11.5 %)", text)

    def test_the_clock_of_a_row_is_said(self):
        before = seesaw_results({1024: (99, 100, 101), 2048: (99, 100, 101), 4096: (99, 100, 101)})
        after = seesaw_results({1024: (149, 150, 151), 2048: (99, 100, 101), 4096: (99, 100, 101)})
        after["results"][0]["clock_mhz"] = 1200.0
        code, out, _ = self.run_tool(before, after)
        self.assertEqual(code, 1)
        self.assertIn("clock 1800 -> 1200 MHz", out)

    def test_another_kernel_for_a_case_is_said(self):
        before = seesaw_results({1024: (99, 100, 101)})
        after = seesaw_results({1024: (199, 200, 201)})
        after["results"][0]["kernel"] = "reference.dense_decode"
        code, out, _ = self.run_tool(before, after)
        self.assertEqual(code, 1)
        self.assertIn("kernel sm90.dense_decode.bf16 -> reference.dense_decode", out)

    def test_two_kernels_of_a_case_are_two_cases(self):
        data = seesaw_results({1024: (99, 100, 101)})
        data["results"].append({**data["results"][0], "kernel": "reference.dense_decode"})
        self.assertEqual(len(self.verdicts(data, data)[1]), 2)

    def test_repeated_rows_widen_the_range(self):
        before = seesaw_results({1024: (99, 100, 101)})
        before["results"].append({**before["results"][0], "us": 110, "us_p10": 108, "us_p90": 112})
        after = seesaw_results({1024: (110, 111, 113)})
        self.assertEqual(self.verdicts(before, after)[0], 0)

    def test_repetitions_in_other_units(self):
        before = google_benchmark({"run": [1.0, 1.01, 0.99, 1.02]})
        after = google_benchmark({"run": [1.2, 1.21, 1.22, 1.19]})
        self.assertEqual(self.verdicts(before, after), (1, {"run": "slower"}))
        for row in after["benchmarks"]:  # the same as `before`, in microseconds
            row.update(real_time=1000.0 + row["repetition_index"], time_unit="us")
        self.assertEqual(self.verdicts(before, after), (0, {"run": "same"}))

    def test_aggregates_alone(self):
        def aggregates(median, stddev):
            data = google_benchmark({})
            data["benchmarks"] = [
                {"run_name": "run", "run_type": "aggregate", "aggregate_name": name,
                 "real_time": value, "time_unit": "us"}
                for name, value in (("mean", median), ("median", median), ("stddev", stddev))]
            return data
        self.assertEqual(self.verdicts(aggregates(100, 1), aggregates(110, 1))[0], 1)
        self.assertEqual(self.verdicts(aggregates(100, 5), aggregates(110, 5))[0], 0)

    def test_one_sample_is_not_judged(self):
        before = google_benchmark({"run": [1.0], "other": [1.0, 1.0]})
        after = google_benchmark({"run": [9.0], "other": [1.0, 1.0]})
        self.assertEqual(self.verdicts(before, after),
                         (0, {"run": "not judged", "other": "same"}))
        self.assertEqual(self.verdicts(google_benchmark({"run": [1.0]}),
                                       google_benchmark({"run": [9.0]}))[0], 2)

    def test_cases_of_one_file_only_are_named(self):
        before = seesaw_results({1024: (99, 100, 101), 2048: (99, 100, 101)})
        after = seesaw_results({1024: (99, 100, 101), 4096: (99, 100, 101)})
        _, report = self.report(before, after)
        self.assertEqual(report["only_before"], ["dense_decode b=4 h_q=128 s_k=2048"])
        self.assertEqual(report["only_after"], ["dense_decode b=4 h_q=128 s_k=4096"])
        out = self.run_tool(before, after)[1]
        self.assertIn("only before: 1 cases", out)

    def test_the_table_shows_what_moved_and_all_on_demand(self):
        before = seesaw_results({1024: (99, 100, 101), 2048: (99, 100, 101)})
        after = seesaw_results({1024: (99, 100, 101), 2048: (149, 150, 151)})
        out = self.run_tool(before, after)[1]
        self.assertIn("+50.0 %", out)
        self.assertNotIn("s_k=1024", out)
        self.assertIn("1 slower, 0 faster, 1 same, 0 not judged of 2 cases", out)
        self.assertIn("s_k=1024", self.run_tool(before, after, "--all")[1])


class Refusals(RegressTest):
    GOOD = seesaw_results({1024: (99, 100, 101)})

    def test_other_machines(self):
        for other in ({"device": "another GPU"}, {"num_sms": 114}, {"power_limit_w": 350.0}):
            self.refused("different machines", self.GOOD, {**self.GOOD, **other})
            code, out, _ = self.run_tool(self.GOOD, {**self.GOOD, **other}, "--across-devices")
            self.assertEqual(code, 0)
            self.assertIn("OTHER MACHINE", out)
        self.refused("different machines", google_benchmark({"run": [1, 1]}),
                     google_benchmark({"run": [1, 1]}, mhz_per_cpu=3000))

    def test_files(self):
        good = self.GOOD
        self.refused("No such file", self.folder / "absent.json", good)
        self.refused("not JSON", "{", good)
        self.refused("no benchmark's result", good, {"some": "thing"})
        self.refused("lacks 'us'", good, {**good, "results": [{"op": "dense_decode"}]})
        self.refused("no benchmark's result", good, [])
        self.refused("holds no case", good, {**good, "results": []})
        self.refused("share no case", good, seesaw_results({2048: (99, 100, 101)}))

    def test_options(self):
        self.refused("--threshold: -1.0", self.GOOD, self.GOOD, "--threshold", "-1")
        self.refused("No such file", self.GOOD, self.GOOD, "--json",
                     str(self.folder / "no" / "folder.json"))

    def test_json_to_a_file_leaves_the_table(self):
        target = self.folder / "report.json"
        code, out, _ = self.run_tool(self.GOOD, self.GOOD, "--json", str(target))
        self.assertEqual(code, 0)
        self.assertIn("1 same", out)
        self.assertEqual(json.loads(target.read_text())["same"], 1)


if __name__ == "__main__":
    RESULTS = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
