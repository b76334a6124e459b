"""bench/python/overhead.py, and that a call stays within its limit."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "python"))

import overhead


def test_numpy_call_is_within_its_limit(tmp_path):
    target = tmp_path / "overhead.json"
    assert overhead.main(["--rounds", "100", "--json", str(target)]) == 0
    added = json.loads(target.read_text())["added"]
    # The least of many batches: other processes of the machine are not what is measured.
    name = "dense_decode, all buffers given"
    assert 0 < added[name]["min_us"] <= overhead.LIMITS_US[name]
