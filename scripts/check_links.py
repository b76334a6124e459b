#!/usr/bin/env python3
"""Checks that every relative link of the repository's Markdown leads to a file that git has, and to
a heading there if it names one.

Usage: check_links.py [ROOT]        the repository; default: the one that holds this script
       check_links.py --self-test   plants broken links and checks that each is found
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List, Set, Tuple

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.DOTALL | re.MULTILINE)


def blank(match: re.Match[str]) -> str:
    """As many lines without words, so that line numbers stay."""
    return "\n" * match[0].count("\n")


def anchors_of(text: str) -> Set[str]:
    """The names that GitHub and GitLab give a page's headings."""
    names: Set[str] = set()
    for heading in re.findall(r"^#+\s+(.*)$", FENCE.sub(blank, text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        count = 1
        unique = name
        while unique in names:
            unique, count = f"{name}-{count}", count + 1
        names.add(unique)
    return names


def files_of(root: Path) -> Set[Path]:
    """Files of the working tree that git knows or could; all files of a folder without git."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        paths = {root / name for name in listed.stdout.split("\0") if name}
    else:
        paths = set(root.rglob("*"))
    return {path for path in paths if path.is_file()}


def broken(root: Path) -> Iterator[Tuple[Path, int, str, str]]:
    """(file, line, link, what is wrong) of every link that leads nowhere."""
    files = files_of(root)
    folders = {parent for path in files for parent in path.parents}
    for path in sorted(path for path in files if path.suffix == ".md"):
        text = FENCE.sub(blank, path.read_text())
        text = re.sub(r"`[^`\n]*`", lambda match: " " * len(match[0]), text)
        for match in LINK.finditer(text):
            link = match[1]
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            name, _, anchor = link.partition("#")
            target = Path(*(path.parent / name).parts).resolve() if name else path
            line = text.count("\n", 0, match.start()) + 1
            if target not in files and target not in folders:
                yield path, line, link, "no such file, allowed: one that git has"
            elif anchor and target.suffix == ".md" and anchor not in anchors_of(target.read_text()):
                yield path, line, link, f"no heading #{anchor} there, allowed: one that is there"


def check(root: Path) -> bool:
    found = list(broken(root.resolve()))
    for path, line, link, wrong in found:
        name = path.relative_to(root.resolve())
        print(f"{name}:{line}: {link}: {wrong}. Mend the link.")
    if not found:
        print("check_links: every relative link leads somewhere")
    return not found


def self_test() -> bool:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        (root / "docs").mkdir()
        (root / "docs" / "a.md").write_text("# A *word*, two\n[up](../b.md) [in](#a-word-two)\n")
        good = "[a](docs/a.md#a-word-two) [f](docs) [w](https://x.invalid/y) `[c](no)`\n"
        good += "```\n[c](no.md)\n```\n"
        (root / "b.md").write_text(good)
        if list(broken(root)):
            print(f"check_links: refused good links: {list(broken(root))}", file=sys.stderr)
            return False
        for bad in ("[x](absent.md)", "[x](docs/a.md#absent)", "[x](../b.md)", "![x](a.svg)"):
            (root / "b.md").write_text(good + bad)
            found = [(line, link) for _, line, link, _ in broken(root)]
            if len(found) != 1 or found[0][0] != 5:
                print(f"check_links: found {found} for {bad}", file=sys.stderr)
                return False
    print("check_links: self-test passed")
    return True


def main(arguments: List[str]) -> int:
    if arguments == ["--self-test"]:
        return 0 if self_test() else 1
    return 0 if check(Path(arguments[0]) if arguments else Path(__file__).parents[1]) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
