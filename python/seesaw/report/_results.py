"""Results as the commands write them: read, checked, and named as people read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

Result = Dict[str, Any]
"""The JSON of `seesaw compare` (`kind` "compare") or of `seesaw ladder` (`benchmark` "ladder")."""
Row = Dict[str, Any]
"""A system at a setting, of a comparison's `rows` (docs/compare.md)."""

COMPARE_FORMATS = (1, 2)
SYSTEMS = {
    "mha": "multi-head attention",
    "traditional_mla": "traditional MLA",
    "chunked_mla": "chunked MLA",
    "deepseek_mla_expanded": "DeepSeek MLA, expanded",
    "deepseek_mla_absorbed": "DeepSeek MLA, absorbed",
    "dense_decode": "dense_decode",
}
DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class Refusal(Exception):
    """A message in four parts: where, what arrived, what is allowed, what to do."""


def read(path: Path) -> Result:
    """A result file; Refusal if it is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(
            f"{path}: {error.strerror}, needed: a readable file. Check the path."
        ) from None
    except ValueError as error:
        raise Refusal(
            f"{path}: not JSON ({error}), needed: what --json wrote. Name another file."
        ) from None
    if not isinstance(result, dict) or not is_known(result):
        raise Refusal(
            f"{path}: neither a comparison nor a climb, needed: the JSON of `seesaw compare` "
            f"(formats {' and '.join(map(str, COMPARE_FORMATS))}) or `seesaw ladder`. "
            "Name another file."
        )
    return upgraded(result) if is_comparison(result) else result


def is_comparison(result: Result) -> bool:
    return result.get("kind") == "compare"


def is_known(result: Result) -> bool:
    if is_comparison(result):
        keys = {"rows", "claim_rows", "precision", "tradeoff", "counters"}
        return result.get("format") in COMPARE_FORMATS and keys <= result.keys()
    return result.get("benchmark") == "ladder" and isinstance(result.get("rungs"), list)


def upgraded(value: Any) -> Any:
    """Format 1 called roofs ceilings."""
    if isinstance(value, dict):
        return {key.replace("ceiling", "roof"): upgraded(item) for key, item in value.items()}
    return [upgraded(item) for item in value] if isinstance(value, list) else value


def measured(row: Row) -> bool:
    return row["why_not"] is None


def setting_of(row: Row) -> str:
    """ "prefill b 1 len 1024 heads 16x64 fp32"."""
    text = (
        f"{row['phase']} b {row['b']} len {row['len']} heads {row['heads']}x{row['head_dim']} "
        f"{DTYPES[row['dtype']]}"
    )
    return text + (" causal" if row["causal"] else "")


def system_of(row: Row) -> str:
    """ "traditional MLA, D' 64"."""
    title = SYSTEMS[row["system"]]
    if row["rope"]:
        return f"{title}, L {row['latent']}+{row['rope']}"
    return f"{title}, D' {row['latent']}" if row["latent"] else title


def groups_of(rows: List[Row]) -> List[List[Row]]:
    """Rows that were measured together: multi-head attention, where it is there, first."""
    groups: List[List[Row]] = []
    for row in rows:
        if not groups or row["system"] == "mha" or setting_of(row) != setting_of(groups[-1][-1]):
            groups.append([])
        groups[-1].append(row)
    return groups


def roofs_text(result: Result) -> str:
    roofs = result["roofs"]
    rates = [
        f"{name} {roofs[key]:,.0f} GFLOP/s"
        for key, name in (
            ("float32_gflops", "fp32"),
            ("bfloat16_gflops", "bf16"),
            ("float16_gflops", "fp16"),
        )
        if roofs[key]
    ]
    return ", ".join([*rates, f"read {roofs['read_gbps']:,.1f} GB/s"]) + f" ({roofs['method']})"
