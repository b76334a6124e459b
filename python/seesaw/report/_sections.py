"""The tables of a comparison and of a climb."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from seesaw.report._claims import NOTES, ROWS, answers, formula_of, percent_of
from seesaw.report._results import (
    DTYPES,
    SYSTEMS,
    Result,
    Row,
    groups_of,
    measured,
    setting_of,
    system_of,
)

NONE = "-"
NUMBER = re.compile(r"(-|[-+]?[\d,.]+(e[-+]?\d+)?( \(.*\))?)$")
COMPARABLE_BYTES = 1 << 20
"""Peaks of less than this are mostly pages and the backend's small objects."""


@dataclass
class Section:
    """A table. Where it is grouped, rows with the same first cell belong together."""

    id: str
    title: str
    note: str
    header: List[str]
    rows: List[List[str]] = field(default_factory=list)
    not_run: Dict[str, None] = field(default_factory=dict)
    """Who could not, and why, each once."""

    @property
    def grouped(self) -> bool:
        return self.header[0] in ("setting", "layer")

    def class_of(self, column: int) -> str:
        """Of a cell on the page: words stand on the left, numbers on the right."""
        cells = [row[column] for row in self.rows]
        longest = max(map(len, cells), default=0)
        words = not all(NUMBER.match(cell) for cell in cells)
        name = "words long" if longest > 36 else "words"
        return name if words else ""


def number(value: Optional[float], digits: int = 3) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def scientific(error: Dict[str, Any], key: str = "relative") -> str:
    return NONE if error[key] is None else f"{error[key]:.2e}"


def spread(row: Row, key: str, scale: float = 1, digits: int = 2) -> str:
    """Median and 10th to 90th percentile."""
    if row.get(key) is None:
        return NONE
    middle, low, high = (row[key + end] * scale for end in ("", "_p10", "_p90"))
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def megabytes(size_bytes: Optional[int]) -> str:
    return NONE if size_bytes is None else f"{size_bytes / 1e6:,.2f}"


def times(rows: List[Row]) -> Section:
    section = Section(
        "times",
        "Time of every system",
        "Medians with the 10th and 90th percentile, of calls in turn, round by round. Speed-up: "
        "over multi-head attention, of the rounds' own ratios. Of the roof: max(operations / "
        "peak, bytes / read rate) / time; above 1 a small problem stayed in a cache. "
        "dense_decode is the attention alone, without projections; attention: of the operations, "
        "Q K^T and P V.",
        ["setting", "system", "ms", "speed-up", "of the roof", "GFLOP", "attention", "MB",
         "GFLOP/s", "GB/s", "runs", "with"],
    )  # fmt: skip
    for row, base in with_base(rows):
        cells, rates = [NONE] * 3, [*[NONE] * 3, "not run"]
        if not measured(row):
            section.not_run[f"{SYSTEMS[row['system']]}: {row['why_not']}"] = None
        else:
            speed_up = spread(row, "speed_up") if base["system"] == "mha" else NONE
            cells = [spread(row, "us", 1e-3, 3), speed_up, f"{row['roof_fraction']:.3f}"]
            through = ", through float32" if row["converted_products"] else ""
            rates = [f"{row['gflops']:,.1f}", f"{row['gbps']:,.1f}", str(row["runs"])]
            rates.append(row["backend"] + through)
        predicted = row["predicted"]
        counts = [f"{predicted[key] / 1e9:.3f}" for key in ("operations", "attention_operations")]
        counts.append(megabytes(predicted["bytes"]))
        section.rows.append([setting_of(row), system_of(row), *cells, *counts, *rates])
    return section


def theory(rows: List[Row]) -> Section:
    section = Section(
        "theory",
        "Speed-up over multi-head attention, in theory and measured",
        "Study notes: their formula 2 H N^2 D / (2 N^2 D' + 2 H N D); with overheads, 3 H N D D' + "
        "H N D' D are added below. Counted: all operations of both layers, projections included. "
        "Bound: the same for max(operations / peak, bytes / read rate).",
        ["setting", "system", "notes, ideal", "notes, overheads", "counted", "bound", "measured"],
    )
    for row, base in with_base(rows):
        if base is row or row.get("speed_up") is None or row["system"] == "dense_decode":
            continue
        formula = formula_of(row) if has_formula(row) else None
        section.rows.append(
            [
                setting_of(row),
                system_of(row),
                number(formula.ideal_speed_up if formula else None),
                number(formula.speed_up if formula else None),
                number(base["predicted"]["operations"] / row["predicted"]["operations"]),
                number(base["bound_us"] / row["bound_us"]),
                spread(row, "speed_up"),
            ]
        )
    return section


def has_formula(row: Row) -> bool:
    """Whether the study notes' cost model is about it."""
    return row["phase"] == "prefill" and row["system"] in ("traditional_mla", "chunked_mla")


def with_base(rows: List[Row]) -> List[Tuple[Row, Row]]:
    """Each row with the first of its group."""
    return [(row, group[0]) for group in groups_of(rows) for row in group]


def memory(rows: List[Row], method: str) -> Section:
    section = Section(
        "memory",
        "Memory, predicted and measured",
        "Intermediates: the most that the algorithm's steps hold at once; scores: scores and "
        "probabilities of these; plan: the workspace that the backend asks for. "
        f"Peak: {method}.",
        ["setting", "system", "cache, bytes a token", "times less", "weights MB", "scores MB",
         "intermediates MB", "plan MB", "peak MB", "peak / predicted"],
    )  # fmt: skip
    for row, base in with_base(rows):
        predicted, peak = row["predicted"], row.get("peak_bytes")
        cache = predicted["cache_bytes_per_token"]
        layer = row["system"] != "dense_decode"
        ratio = base["predicted"]["cache_bytes_per_token"] / cache
        shown = peak and predicted["workspace_bytes"] >= COMPARABLE_BYTES
        section.rows.append(
            [
                setting_of(row),
                system_of(row),
                str(cache),
                f"{ratio:.2f}" if base["system"] == "mha" else NONE,
                megabytes(predicted["weight_bytes"] if layer else None),
                megabytes(predicted["score_bytes"] if layer else None),
                megabytes(predicted["workspace_bytes"]),
                megabytes(row.get("plan_workspace_bytes")),
                megabytes(peak),
                number(peak / predicted["workspace_bytes"] if shown else None),
            ]
        )
    return section


def precision(rows: List[Row]) -> Section:
    first = rows[0]
    section = Section(
        "precision",
        "Error against double",
        f"Each layer on random inputs rounded to its dtype, b {first['b']} len {first['len']} "
        f"heads {first['heads']}x{first['head_dim']}, against the equations in double on the same "
        "rounded inputs. Relative: ||out - ref|| / ||ref||. Through float32: products on "
        "converted copies, as the backend has none of the dtype.",
        ["system", "dtype", "relative", "largest", "through float32"],
    )
    for row in rows:
        last = str(row["converted_products"]) if measured(row) else "not run"
        if not measured(row):
            section.not_run[f"{SYSTEMS[row['system']]}: {row['why_not']}"] = None
        errors = [scientific(row), scientific(row, "largest")]
        section.rows.append([system_of(row), DTYPES[row["dtype"]], *errors, last])
    return section


def tradeoff(t: Dict[str, Any]) -> Section:
    left_out = f"; left out: {t['left_out']}" if t["left_out"] else ""
    section = Section(
        "tradeoff",
        "Compression against error and speed",
        f"One multi-head attention layer of {t['heads']} x {t['head_dim']} heads, d_model "
        f"{t['d_model']} ({t['weights']}{left_out}), and fits of its projections by singular "
        f"values. Errors: ||out - given layer in double|| / ||given||, {t['check_tokens']} tokens "
        "without mask. Own error of traditional MLA: against its own form at full rank, which "
        "one attention pattern for all heads keeps from the given layer. Nothing was trained: "
        "training could do better at every rank. Times: "
        f"{DTYPES[t['points'][0]['prefill']['dtype']]}, {t['len']} keys.",
        ["form", "times less cache", "error of weights", "error fp32", "bf16", "fp16", "own fp32",
         "prefill ms", "speed-up", "decode ms", "speed-up"],
    )  # fmt: skip
    for point in t["points"]:
        cells = [system_of(point), f"{point['compression']:.2f}", f"{point['weight_error']:.2e}"]
        cells += [scientific(point["error"][dtype]) for dtype in DTYPES]
        cells.append(scientific(point["own_error"]["float32"]))
        for phase in ("prefill", "decode"):
            us, speed_up = point[phase].get("us"), point[phase].get("speed_up")
            cells += [NONE if us is None else f"{us / 1e3:.3f}", number(speed_up)]
        section.rows.append(cells)
    return section


def counters(layers: List[Dict[str, Any]]) -> Section:
    names = list(NOTES["counters"])
    section = Section(
        "counters",
        "Hardware counters of the layers",
        f"A call of each at {setting_of(layers[0])}, by Nsight Compute: kernels one by one with "
        "cold caches, means over a call's kernels by their time; per cent. Instructions: of what "
        "threads execute; barriers: of warps' instructions, with address divergence.",
        ["layer", "kernel", "us", *names],
    )
    for layer in layers:
        for call in (layer["whole_call"], *layer["kernels"]):
            time = call["metrics"].get("gpu__time_duration.sum")
            shares = [number(percent_of(call, name)) for name in names]
            kernel = short_kernel(call["kernel"])
            section.rows.append([SYSTEMS[layer["system"]], kernel, number(time), *shares])
    return section


def short_kernel(name: str) -> str:
    """ "softmax" of "void seesaw::<unnamed>::softmax<float>(Params)"."""
    for scope in ("<unnamed>::", "unnamed>::", "(anonymous namespace)::"):
        name = name.replace(scope, "")
    if "<" in name or "(" in name:
        name = name.split("<")[0].split("(")[0].rpartition(" ")[2].rpartition(":")[2]
    return name if len(name) <= 48 else name[:48] + "..."


def claims(result: Result) -> Section:
    notes = NOTES["notes"]
    dtype = DTYPES[result["rows"][0]["dtype"]]
    section = Section(
        "claims",
        "The study notes' claims, row by row",
        f"{notes['what']} A: {notes['A']} B: {notes['B']} Formula: their own cost model evaluated. "
        "Counted: whole layers' operations. The other columns were measured in this run on "
        f"{result['device']}: layers in {dtype}, hardware counters in fp32, the decode kernel in "
        f"whatever dtype did best. Within {100 * NOTES['same_within']:.0f} % of the printed value "
        "counts as claimed.",
        ["notes", "claim", "printed", "formula", "counted", "multi-head attention",
         "traditional MLA, plain", "chunked", "verdict"],
    )  # fmt: skip
    for answer in answers(result):
        values = [number(answer[key]) for key in ("formula", "counted", *ROWS)]
        words = [answer[key] for key in ("source", "claim", "printed")]
        section.rows.append([*words, *values, answer["verdict"]])
    return section


def sections_of(result: Result) -> List[Section]:
    """The tables of a comparison."""
    rows = result["rows"] + result["claim_rows"]
    sections = [times(rows), theory(rows), memory(rows, result["memory_method"])]
    if result["precision"]:
        sections.append(precision(result["precision"]))
    if result["tradeoff"]:
        sections.append(tradeoff(result["tradeoff"]))
    if result["counters"] and result["counters"]["layers"]:
        sections.append(counters(result["counters"]["layers"]))
    return [*sections, claims(result)]


def rung_of(rung: Dict[str, Any]) -> str:
    return f"{rung['rung'] or 'CPU'}: {rung['idea']}"


def climb_of(result: Result) -> Section:
    """The table of a ladder's result."""
    problem = result["problem"]
    tokens = sum(problem["seq_lens"])
    section = Section(
        "climb",
        f"{problem['batch']} sequences, {tokens:,} tokens, {problem['h_q']} heads",
        f"{problem['flops'] / 1e9:,.2f} GFLOP, {problem['bytes'] / 1e6:,.1f} MB. Time: "
        f"{result.get('method', 'as each row says')}. Error: the largest of those checked, in "
        "units of its bound.",
        ["rung", "idea", "time, us", "times faster", "TFLOPS", "GB/s", "error / bound"],
    )
    before = None
    for rung in result["rungs"]:
        us = rung.get("microseconds_median")
        cells = [str(rung["rung"] or "CPU"), rung["idea"]]
        if "error" in rung:
            section.rows.append([*cells, *[NONE] * 4, f"not run: {rung['error']}"])
            continue
        wrong = "" if rung["correct"] else ", WRONG"
        section.rows.append(
            [
                *cells,
                NONE if us is None else f"{us:,.1f}",
                number(before / us if before and us and rung["rung"] else None),
                number(rung.get("tera_flops")),
                number(rung.get("giga_bytes_per_second")),
                (rung["max_error_over_bound"] if isinstance(rung["max_error_over_bound"], str)
                 else f"{rung['max_error_over_bound']:.3f}") + wrong,
            ]
        )  # fmt: skip
        before = us if rung["rung"] else before
    if "microseconds_of_an_empty_kernel" in result:
        empty = result["microseconds_of_an_empty_kernel"]
        section.note += f" An empty kernel takes {empty:.1f} us and is in every time."
    return section
