#!/usr/bin/env python3
"""One figure of a page that `seesaw compare --html` wrote, as an SVG file of its own.

    python bench/page_figure.py bench/results/h200/2026-11-21-f8fa6e4-compare.html \\
        "Speed-up of traditional MLA over multi-head attention" -o docs/figures/compare-theory-h200.svg

Without a title: lists them. Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional

BACKGROUND = '<rect width="100%" height="100%" fill="#fff"/>'
FONT = "font-family: system-ui, sans-serif;"


def figures_of(page: str) -> Dict[str, str]:
    """The page's figures by their titles."""
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return {html.unescape(re.search(r'aria-label="(.*?)"', svg).group(1)): svg for svg in svgs}


def standalone(svg: str, page: str) -> str:
    """The figure with the page's rules for it, on white: it may be shown on any ground."""
    rules = " ".join(re.findall(r"svg (\.\w+ \{.*?\})", page))
    head, _, rest = svg.partition("\n")
    return f"{head}\n<style>text {{ {FONT} }} {rules}</style>\n{BACKGROUND}\n{rest}\n"


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("title", nargs="?", help="or the beginning of it")
    parser.add_argument("-o", "--output", type=Path, help="the SVG file (standard output)")
    arguments = parser.parse_args(argv)
    page = arguments.page.read_text()
    figures = figures_of(page)
    if arguments.title is None:
        print("\n".join(figures))
        return 0
    found = [svg for title, svg in figures.items() if title.startswith(arguments.title)]
    if len(found) != 1:
        print(
            f"page_figure: {len(found)} figures of {arguments.page} begin with "
            f"{arguments.title!r}, allowed: one of {', '.join(map(repr, figures))}. Name one.",
            file=sys.stderr,
        )
        return 2
    text = standalone(found[0], page)
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
