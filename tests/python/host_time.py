"""What the host time of calls may be, told in yardsticks of bench/python/overhead.py: a call that
does nothing, timed in the same rounds, so that neither a slow machine nor a busy one matters.
Limits are some 45% above what was measured, on a machine with six busy loops on its two cores, too.
"""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "bench" / "python" / "overhead.py"


def yardsticks_added(library, folder):
    """What each variant adds to the C call, least batch of many: {name: yardsticks}."""
    target = folder / "overhead.json"
    command = [sys.executable, SCRIPT, "--library", library, "--rounds", "200", "--json", target]
    subprocess.run(command, check=True)
    added = json.loads(target.read_text())["added"]
    return {name: figures["yardsticks"] for name, figures in added.items()}


def check_limits(limits, library, folder):
    """Fails where a variant is beyond its limit twice: a machine may be disturbed once."""
    for _ in range(2):
        measured = yardsticks_added(library, folder)
        beyond = {name: measured[name] for name in limits if not 0 < measured[name] <= limits[name]}
        if not beyond:
            return
    raise AssertionError(f"{library}: {beyond} yardsticks added, allowed: {limits}")
