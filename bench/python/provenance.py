"""Where a result comes from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def commit() -> str:
    """SEESAW_COMMIT if set, for copies of the tree without its history; else what git says."""
    given = os.environ.get("SEESAW_COMMIT")
    if given:
        return given
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"
