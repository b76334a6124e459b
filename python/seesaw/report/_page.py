"""A result as text, as a page and as a figure."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from seesaw.report._findings import findings_of
from seesaw.report._results import Refusal, Result, is_comparison, roofs_text
from seesaw.report._sections import Section, climb_of, sections_of


def facts_of(result: Result) -> List[Tuple[str, str]]:
    """Where and how it was measured."""
    facts = [("device", result["device"] or "a CPU")]
    if is_comparison(result):
        machine = result["machine"]
        facts[0] = ("device", f"{result['device']} ({result['place']})")
        facts.append(("roofs, measured in this run", roofs_text(result)))
        facts.append(
            (
                "host",
                f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['threads']} threads, load "
                f"{machine['load_average_before']:.2f} before the start; {machine['os']}",
            )
        )
        facts.append(("date", result["date"]))
    if result.get("stopped_early"):
        facts.append(("stopped early", "not measured: " + "; ".join(result["left_out"])))
    facts.append(("commit", result["commit"]))
    facts.append(("command", result.get("command", "not recorded in this file")))
    return facts


def tables_of(results: List[Result]) -> List[Section]:
    if is_comparison(results[0]):
        return sections_of(results[0])
    sections = [climb_of(result) for result in results]
    for i, section in enumerate(sections):
        section.id += str(i) if i else ""
    return sections


def title_of(result: Result) -> str:
    return "Attention layers side by side" if is_comparison(result) else "The ladder"


def text_table(section: Section) -> str:
    lines = [section.header, *section.rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def text_of(results: List[Result]) -> str:
    parts = []
    for result in results:
        parts.append("\n".join(f"{name}: {text}" for name, text in facts_of(result)))
    if is_comparison(results[0]):
        parts.append("In short\n" + "\n".join("- " + text for text in findings_of(results[0])))
    for section in tables_of(results):
        parts.append(f"{section.title}\n{text_table(section)}\n{section.note}")
        parts[-1] += "".join(f"\nNot run: {reason}" for reason in section.not_run)
    return "\n\n".join(parts) + "\n"


def drawings_of(results: List[Result]) -> Dict[str, List[Any]]:
    """Figures by the section that they belong to."""
    from seesaw.report import _drawings

    if is_comparison(results[0]):
        return _drawings.drawings_of(results[0])
    return {"climb": list(_drawings.climb_drawings(results))}


def page_of(results: List[Result]) -> str:
    drawings = drawings_of(results)
    try:
        import jinja2
    except ImportError:
        raise Refusal(
            "report: Jinja2 is not installed, needed: the extra `report`. "
            "Run `pip install 'seesaw[report]'`, or leave -o out for text."
        ) from None
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seesaw.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    figures = {
        section: [
            {"title": drawing.title, "svg": Markup(drawing.svg(f"{section}{i}-"))}
            for i, drawing in enumerate(group)
        ]
        for section, group in drawings.items()
    }
    facts = facts_of(results[0])
    facts += [fact for result in results[1:] for fact in facts_of(result) if fact not in facts]
    return environment.get_template("page.html.jinja").render(
        title=title_of(results[0]),
        facts=facts,
        findings=findings_of(results[0]) if is_comparison(results[0]) else [],
        sections=tables_of(results),
        figures=figures,
    )
