"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, Callable


def write_whole(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Replaces `path` by what `fill` writes, or leaves it as it was.

    Raises:
        OSError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            fill(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
