#!/usr/bin/env python3
"""The support matrix of the README and the cache formats are what the library says of them.

Usage: documents_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import pathlib
import subprocess
import sys

from command import WORK, CommandTest, main

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Documents(CommandTest):
    def tables(self, info):
        path = WORK / "info.json"
        path.write_text(json.dumps(info))
        return subprocess.run([sys.executable, ROOT / "scripts" / "doc_tables.py", "--check",
                               "--info", path], capture_output=True, text=True)

    def test_the_support_matrix_is_the_registry(self):
        info = json.loads(self.succeed("info", "--json").stdout)
        result = self.tables(info)
        self.assertEqual(result.returncode, 0, result.stdout)
        # What a kernel does not take any more must show.
        for operation in info["operations"]:
            for kernel in operation["kernels"]:
                self.assertTrue(kernel["hardware"])
                kernel["hardware"] = "other hardware"
        result = self.tables(info)
        self.assertEqual(result.returncode, 1)
        self.assertIn("support of cpu.dense_decode is not the build's", result.stdout)

    def test_the_drawn_cache_formats_are_the_tables(self):
        info = json.loads(self.succeed("info", "--json").stdout)
        self.assertGreaterEqual(len(info["formats"]), 8)
        info["formats"][0]["rotary"]["offset"] += 2
        result = self.tables(info)
        self.assertEqual(result.returncode, 1)
        self.assertIn("table byte-maps differs", result.stdout)


if __name__ == "__main__":
    main()
