"""Host time of calls on PyTorch tensors, against what it may cost."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "bench" / "python" / "overhead.py"


def test_calls_are_within_their_limits(tmp_path):
    target = tmp_path / "overhead.json"
    command = [sys.executable, SCRIPT, "--library", "torch", "--rounds", "100", "--json", target]
    subprocess.run(command, check=True)
    added = json.loads(target.read_text())["added"]
    assert 0 < added["dense_decode, all buffers given"]["min_us"] <= 8
    assert 0 < added["flash_mla, current form"]["min_us"] <= 15
