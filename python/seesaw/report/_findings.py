"""A comparison's main results in sentences."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from seesaw.report._claims import formula_of
from seesaw.report._results import Result, Row, groups_of, measured, setting_of


def largest_groups(rows: List[Row], phase: str) -> List[Dict[str, Row]]:
    """Of each dtype the group of most work in this phase, its measured rows by system: the smaller
    groups say the same."""
    chosen: Dict[str, List[Row]] = {}
    for group in groups_of(rows):
        if group[0]["phase"] == phase:
            other = chosen.get(group[0]["dtype"], group)
            more = group[0]["predicted"]["operations"] >= other[0]["predicted"]["operations"]
            chosen[group[0]["dtype"]] = group if more else other
    return [
        {row["system"]: row for row in reversed(group) if measured(row)}
        for group in chosen.values()
    ]


def prefill_finding(group: Dict[str, Row]) -> Optional[str]:
    mha, mla = group.get("mha"), group.get("traditional_mla")
    if mha is None or mla is None or mla["speed_up"] is None:
        return None
    formula, counts = formula_of(mla), mha["predicted"]
    projections = 1 - counts["attention_operations"] / counts["operations"]
    return (
        f"{setting_of(mha)}: traditional MLA is {mla['speed_up']:.2f} times as fast as multi-head "
        f"attention ({mla['speed_up_p10']:.2f} to {mla['speed_up_p90']:.2f}). The study notes' "
        f"formula promises {formula.ideal_speed_up:.1f}, with overheads {formula.speed_up:.1f}. "
        "Counting the operations of whole layers gives "
        f"{counts['operations'] / mla['predicted']['operations']:.2f}, as {100 * projections:.0f} "
        "% of multi-head attention's are projections, which traditional MLA keeps; with the "
        "bytes of the materialised scores, against the roofs, "
        f"{mha['bound_us'] / mla['bound_us']:.2f}."
    )


def decode_finding(group: Dict[str, Row]) -> Optional[str]:
    expanded, absorbed = group.get("deepseek_mla_expanded"), group.get("deepseek_mla_absorbed")
    if expanded is None or absorbed is None:
        return None
    counts, fewer = expanded["predicted"], absorbed["predicted"]
    text = (
        f"{setting_of(expanded)}: absorbing the up-projections makes DeepSeek's MLA "
        f"{expanded['us'] / absorbed['us']:.1f} times as fast ({absorbed['us'] / 1e3:.3f} ms "
        f"against {expanded['us'] / 1e3:.3f} ms expanded, "
        f"{counts['operations'] / fewer['operations']:.1f} times fewer operations; absorbed it "
        f"runs at {absorbed['roof_fraction']:.2f} of the roof); a token's cache is "
        f"{fewer['cache_bytes_per_token']} bytes"
    )
    if "mha" in group:
        text += f", multi-head attention's {group['mha']['predicted']['cache_bytes_per_token']}"
    return text + "."


def fits_of(t: Dict[str, Any], system: str) -> List[Tuple[int, float, float, float]]:
    """(rank, compression, error, own error) in fp32 of the fits whose errors are known."""
    return [
        (p["latent"], p["compression"], p["error"]["float32"]["relative"],
         p["own_error"]["float32"]["relative"])
        for p in t["points"]
        if p["system"] == system and p["error"]["float32"]["relative"] is not None
        and p["own_error"]["float32"]["relative"] is not None
    ]  # fmt: skip


def fit_findings(t: Dict[str, Any]) -> List[str]:
    findings = []
    columns = t["heads"] * t["head_dim"]
    deepseek = fits_of(t, "deepseek_mla_expanded")
    if deepseek:
        full = min(2 * columns, t["d_model"])
        rank, _, error, _ = deepseek[0]
        exact = "is exact at full rank"
        if rank != full:
            exact = f"at rank {rank} of {full} is not exact"
        text = f"Compression of the given layer: DeepSeek's form {exact} "
        text += f"(relative error {error:.1e} in fp32)"
        cut = next((fit for fit in deepseek if fit[0] * 4 <= rank), None)
        if cut:
            text += f"; at rank {cut[0]} the cache is {cut[1]:.1f} times smaller "
            text += f"and the error {cut[2]:.2g}"
        findings.append(text + ".")
    traditional = fits_of(t, "traditional_mla")
    if traditional:
        full = min(columns, t["d_model"])
        rank, _, error, own = traditional[0]
        where = "even at full rank" if rank == full else f"at rank {rank} of {full}"
        findings.append(
            f"Traditional MLA has one attention pattern for all heads: {where} its distance from "
            f"the given layer is {error:.2g}; its own form at full rank it reproduces to "
            f"{own:.1e}."
        )
    return findings


def findings_of(result: Result) -> List[str]:
    """The main results of a comparison in sentences."""
    findings = [prefill_finding(group) for group in largest_groups(result["rows"], "prefill")]
    findings += [decode_finding(group) for group in largest_groups(result["rows"], "decode")]
    if result["tradeoff"]:
        findings += fit_findings(result["tradeoff"])
    return [finding for finding in findings if finding]
