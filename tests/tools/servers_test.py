"""bench/cpu/servers.py: its table, from numbers that are given."""

import importlib.util
import pathlib
import unittest

PATH = pathlib.Path(__file__).parents[2] / "bench" / "cpu" / "servers.py"
SPEC = importlib.util.spec_from_file_location("servers", PATH)
servers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(servers)

ROOFS = {"amx_registers_gflops": 20000.0, "amx_first_cache_gflops": 10000.0,
         "bf16_dot_gflops": 700.0, "float_fma_gflops": 1300.0, "read_gbps": 100.0}
SHAPE = {"b": 8, "h_q": 128, "s_k": 8192}


def row(backend, tflops, gbps=20.0):
    return {"backend": backend, "tflops": tflops, "gbps": gbps}


class TableTest(unittest.TestCase):
    def test_shares_and_the_better_of_pytorchs_ways(self):
        rows = [row("seesaw", 4.0), row("torch", 0.8), row("torch.sdpa", 0.5)]
        line = servers.table_row(SHAPE, rows, ROOFS)
        self.assertEqual(line["gflops"], 4000)
        self.assertEqual(line["of_amx_first_cache"], 0.4)
        self.assertEqual(line["of_amx_registers"], 0.2)
        self.assertEqual(line["of_read"], 0.2)
        self.assertEqual(line["times_torch"], 5.0)

    def test_without_amx_and_without_rivals(self):
        line = servers.table_row(SHAPE, [row("seesaw", 0.5)],
                                 {**ROOFS, "amx_registers_gflops": 0.0,
                                  "amx_first_cache_gflops": 0.0})
        self.assertIsNone(line["of_amx_first_cache"])
        self.assertIsNone(line["times_torch"])
        self.assertIn(" - ", servers.text_of([line]))

    def test_the_better_of_two_measurements_counts(self):
        slower = {name: value / 2 for name, value in ROOFS.items()}
        self.assertEqual(servers.best_roofs([slower, ROOFS]), ROOFS)


if __name__ == "__main__":
    unittest.main()
