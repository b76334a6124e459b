"""Host time of calls on PyTorch tensors, against the limits of bench/python/overhead.py."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "bench" / "python"))

import overhead


def test_calls_are_within_their_limits(tmp_path):
    target = tmp_path / "overhead.json"
    assert overhead.main(["--library", "torch", "--rounds", "100", "--json", str(target)]) == 0
    added = json.loads(target.read_text())["added"]
    for name, limit in overhead.LIMITS_US.items():
        assert 0 < added[name]["min_us"] <= limit, name
