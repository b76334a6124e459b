"""python -m seesaw.report: see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, Callable, List, Optional

from seesaw._files import write_whole
from seesaw.report import __doc__ as ABOUT
from seesaw.report import _page
from seesaw.report._results import Refusal, Result, is_comparison, read

FIGURE_FORMATS = (".svg", ".png")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Refusal(f"report: {message}, needed: what --help says. Mend the command line.")


def parser() -> Parser:
    about, _, examples = (ABOUT or "").partition("\n\n")
    made = Parser(
        prog="python -m seesaw.report",
        description=about,
        epilog="Examples:\n"
        + examples
        + "    python -m seesaw.report compare.json --figure 'Cache of a token' -o cache.svg\n"
        "    python -m seesaw.report b64.json b4.json -o climb.png      # several climbs in one "
        "figure",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="JSON of `seesaw compare`, or of `seesaw ladder`: one, or several climbs",
    )
    made.add_argument(
        "-o", "--output", type=Path, help="a page (.html) or a figure (.svg, .png); none: text"
    )
    made.add_argument("--figure", metavar="TITLE", help="the beginning of its title")
    return made


def chosen_figure(results: List[Result], title: Optional[str]) -> Any:
    drawings = [drawing for group in _page.drawings_of(results).values() for drawing in group]
    found = [drawing for drawing in drawings if drawing.title.startswith(title or "")]
    if len(found) != 1:
        titles = ", ".join(f"'{drawing.title}'" for drawing in drawings) or "none: nothing ran"
        raise Refusal(
            f"--figure: {len(found)} figures begin with '{title or ''}', allowed: one of {titles}. "
            "Name one."
        )
    return found[0]


def write(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    try:
        write_whole(path, fill)
    except OSError as error:
        raise Refusal(
            f"-o: {path} cannot be written ({error.strerror}), needed: a file in a folder that is "
            "there and writable. Name another."
        ) from None


def run(arguments: argparse.Namespace) -> None:
    results = [read(path) for path in arguments.files]
    if len(results) > 1 and any(is_comparison(result) for result in results):
        raise Refusal(
            "report: several files of which one is a comparison, needed: one comparison, or "
            "climbs. Run it once a file."
        )
    output: Optional[Path] = arguments.output
    kind = output.suffix if output else None
    if kind not in (None, ".html", *FIGURE_FORMATS):
        raise Refusal(f"-o: {output}, allowed: names that end in .html, .svg, .png. Name another.")
    if arguments.figure and kind not in FIGURE_FORMATS:
        raise Refusal("--figure: no file for it, needed: -o FILE.svg or .png. Add it.")
    if output is None:
        sys.stdout.write(_page.text_of(results))
    elif kind == ".html":
        page = _page.page_of(results).encode("utf-8")
        write(output, lambda file: file.write(page))
    else:
        figure = chosen_figure(results, arguments.figure)
        write(output, lambda file: figure.save(file, output.suffix[1:]))


def main(arguments: Optional[List[str]] = None) -> int:
    try:
        run(parser().parse_args(arguments))
        sys.stdout.flush()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except BrokenPipeError:  # a reader that went away is not our failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
