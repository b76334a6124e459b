"""Which figures a comparison and a climb have."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from seesaw.report._claims import formula_of
from seesaw.report._figures import Bar, Bars, Dots, Drawing, Line, Lines
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
from seesaw.report._sections import has_formula, rung_of, with_base

COLOUR_OF = {system: i for i, system in enumerate(SYSTEMS)}


def time_bars(rows: List[Row]) -> Iterator[Drawing]:
    for group in groups_of(rows):
        bars = [
            Bar(
                system_of(row),
                row["us"] / 1e3,
                f"{row['us'] / 1e3:.3g} ms"
                + (f", {row['speed_up']:.2f}x" if row["speed_up"] else ""),
                COLOUR_OF[row["system"]],
                row["us_p10"] / 1e3,
                row["us_p90"] / 1e3,
            )
            for row in group
            if measured(row)
        ]
        if bars:
            yield Bars(setting_of(group[0]), "ms", bars=bars)


def roof_dots(rows: List[Row]) -> Iterator[Drawing]:
    dots = Dots(
        "Share of the roof (above 1: the data stayed in a cache)",
        "bound / time",
        series=list(SYSTEMS.values()),
    )
    for group in groups_of(rows):
        best: Dict[str, float] = {}
        for row in group:
            if measured(row):
                best[row["system"]] = max(best.get(row["system"], 0), row["roof_fraction"])
        if best:
            dots.rows.append((setting_of(group[0]), [best.get(system) for system in SYSTEMS]))
    if dots.rows:
        yield dots


def theory_dots(rows: List[Row]) -> Iterator[Drawing]:
    dots = Dots(
        "Speed-up of traditional MLA over multi-head attention",
        "times",
        True,
        ("study notes, ideal", "study notes, overheads", "counted operations", "measured"),
    )
    for row, base in with_base(rows):
        if row["system"] == "traditional_mla" and has_formula(row) and row.get("speed_up"):
            formula = formula_of(row)
            name = setting_of(row).replace("prefill ", "") + f", D' {row['latent']}"
            counted = base["predicted"]["operations"] / row["predicted"]["operations"]
            values = [formula.ideal_speed_up, formula.speed_up, counted, row["speed_up"]]
            dots.rows.append((name, values))
    if dots.rows:
        yield dots


def memory_dots(rows: List[Row]) -> Iterator[Drawing]:
    dtype = rows[0]["dtype"]
    dots = Dots(
        f"Memory of a prefill beside weights and cache, {DTYPES[dtype]}",
        "MB",
        True,
        ("predicted intermediates", "plan's workspace", "measured peak"),
    )
    for row in rows:
        if row["phase"] == "prefill" and row["dtype"] == dtype and measured(row):
            sizes = (row["predicted"]["workspace_bytes"], row["plan_workspace_bytes"],
                     row["peak_bytes"])  # fmt: skip
            name = f"b {row['b']} len {row['len']}, {system_of(row)}"
            dots.rows.append((name, [size and size / 1e6 for size in sizes]))
    if dots.rows:
        yield dots


def cache_bars(rows: List[Row]) -> Iterator[Drawing]:
    """Forms that share a cache with the one before them are left out."""
    bars: Dict[str, Bar] = {}
    for row in rows:
        if row["system"] in ("mha", "traditional_mla", "deepseek_mla_expanded"):
            name = f"{row['heads']} heads {DTYPES[row['dtype']]}, {system_of(row)}"
            name = name.replace(", expanded", "")
            size = row["predicted"]["cache_bytes_per_token"]
            bars[name] = Bar(name, size, str(size), COLOUR_OF[row["system"]])
    yield Bars("Cache of a token", "bytes", bars=list(bars.values()))


def precision_dots(rows: List[Row]) -> Iterator[Drawing]:
    dots = Dots("Error against double", "relative error", True, list(DTYPES.values()))
    errors: Dict[str, Dict[str, Optional[float]]] = {}
    for row in rows:
        errors.setdefault(system_of(row), {})[row["dtype"]] = row["relative"]
    for name, by_dtype in errors.items():
        dots.rows.append((name, [by_dtype.get(dtype) for dtype in DTYPES]))
    if dots.rows:
        yield dots


def tradeoff_lines(t: Dict[str, Any]) -> Iterator[Drawing]:
    across = "times less cache than multi-head attention"

    def line(name: str, system: str, value: Callable[[Any], Optional[float]], colour: int,
             dashed: bool = False) -> Line:  # fmt: skip
        points: List[Tuple[float, float]] = []
        for point in t["points"]:
            found = value(point) if point["system"] == system else None
            if found is not None:
                points.append((point["compression"], found))
        return Line(name, points, colour, dashed)

    def error(dtype: str, key: str = "error") -> Callable[[Any], Optional[float]]:
        return lambda point: point[key][dtype]["relative"]

    expanded, traditional = "deepseek_mla_expanded", "traditional_mla"
    yield Lines(
        "Error against compression of the cache, fp32",
        "relative error",
        across=across,
        lines=[
            line("DeepSeek", expanded, error("float32"), 3),
            line("its cut weights", expanded, lambda point: point["weight_error"], 3, True),
            line("traditional", traditional, error("float32"), 1),
            line("its own error", traditional, error("float32", "own_error"), 1, True),
        ],
    )
    yield Lines(
        "DeepSeek's form: rounding and compression",
        "relative error",
        True,
        across=across,
        lines=[
            line(name, expanded, error(dtype), i) for i, (dtype, name) in enumerate(DTYPES.items())
        ],
    )
    for phase in ("prefill", "decode"):

        def speed(point: Any, phase: str = phase) -> Optional[float]:
            return point[phase].get("speed_up")

        yield Lines(
            f"Speed-up over the given layer, {phase}",
            "times as fast",
            across=across,
            lines=[
                line("DeepSeek, expanded", expanded, speed, 3),
                line("DeepSeek, absorbed", "deepseek_mla_absorbed", speed, 4),
                line("traditional", traditional, speed, 1),
            ],
        )
    spectrum = [(i + 1.0, value) for i, value in enumerate(t["singular_values"]) if value > 0]
    if spectrum:
        given = [Line("given weights", spectrum, 0)]
        yield Lines("Singular values of [Wk; Wv]", "value", True, across="number", lines=given)


def drawings_of(result: Result) -> Dict[str, List[Drawing]]:
    """A comparison's figures by the section that they belong to."""
    rows = result["rows"]
    every = rows + result["claim_rows"]
    return {
        "times": [*time_bars(rows), *roof_dots(every)],
        "theory": list(theory_dots(every)),
        "memory": [*memory_dots(rows), *cache_bars(rows)],
        "precision": list(precision_dots(result["precision"])),
        "tradeoff": list(tradeoff_lines(result["tradeoff"])) if result["tradeoff"] else [],
    }


def time_text(us: float) -> str:
    return f"{us / 1e3:,.1f} ms" if us >= 1e3 else f"{us:,.0f} us"


def climb_drawings(results: List[Result]) -> Iterator[Drawing]:
    """One figure of all climbs: a bar a rung and result."""
    bars = []
    rungs = {rung_of(rung): None for result in results for rung in result["rungs"]}
    for name in rungs:
        for i, result in enumerate(results):
            for rung in result["rungs"]:
                us = rung.get("microseconds_median")
                if rung_of(rung) == name and us:
                    problem = result["problem"]
                    of = f"  (b {problem['batch']})" if len(results) > 1 else ""
                    bars.append(Bar(name + of, us, time_text(us), i))
    if bars:
        first = results[0]
        title = f"The ladder on {first['device']}, commit {first['commit'][:7]}"
        yield Bars(title, "us, logarithmic", True, bars)
