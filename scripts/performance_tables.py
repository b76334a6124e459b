"""Tables of docs/performance.md from the recorded results: doc_tables.py writes them.

A record's file is found by the caller; each function here takes what is in it.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Sequence, Tuple

Record = Dict[str, Any]
Rows = Tuple[Sequence[str], Iterable[Sequence[str]]]
"""A table's header and rows."""

SPARSE_AIMS: Dict[Tuple[str, int, int, int], str] = {
    ("fp8_656", 128, 128, 2): "520 TFLOPS", ("fp8_656", 128, 128, 1): "510 TFLOPS",
    ("fp8_656", 128, 64, 1): "400 TFLOPS", ("fp8_656", 128, 8, 1): "50 µs",
    ("fp8_656", 128, 16, 1): "50 µs", ("fp8_656", 1, 64, 1): "10.5 µs",
    ("fp8_656", 8, 64, 1): "13 µs", ("fp8_656", 2, 128, 2): "13 µs",
    ("fp8_584", 128, 128, 2): "470 TFLOPS", ("fp8_584", 128, 64, 2): "370 TFLOPS",
}  # fmt: skip
"""What the work on these kernels set out for, by format, sequences, heads and query tokens."""
PREFILL_AIMS = {(8192, 2048): 650, (65536, 2048): 590, (8192, 512): 490, (32768, 1024): 620}
"""TFLOPS, by cached tokens and slots."""
DENSE_FP8_AIMS = {
    (128, 16, 1): 172.0, (128, 64, 1): 200.0, (1, 16, 1): 9.0, (4, 16, 1): 11.5, (16, 16, 1): 27.0,
}  # fmt: skip
"""Microseconds, by sequences, heads and query tokens, 8k tokens each."""



def tokens_text(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)


def us_text(us: float) -> str:
    return f"{us:,.0f}" if us >= 1000 else f"{us:.1f}"


def dense(record: Record) -> Rows:
    """Every case beside FlashMLA, and the part of the machine's limit that is reached."""
    rows: List[List[str]] = []
    for item in record["results"]:
        case, us = item["case"], item["us"]
        ours, theirs = us["seesaw"], us["flash_mla"]
        lengths = ", varied" * case["varlen"] + ", causal" * case["causal"]
        rows.append(
            [
                f"{case['b']} × {tokens_text(case['s_k'])}{lengths}",
                str(case["h_q"]),
                str(case["s_q"]),
                us_text(ours["burst"]),
                f"{theirs['burst'] / ours['burst']:.2f}×",
                f"{theirs['short'] / ours['short']:.2f}×",
                f"{item['roof_us'] / ours['burst']:.2f}",
            ]
        )
    header = ["sequences × tokens", "heads", "query tokens", "Seesaw, µs", "FlashMLA's time",
              "behind a pause", "of the roof"]  # fmt: skip
    return header, rows


def contestant(times: Dict[str, Any], rows: int, format_name: str) -> Dict[str, Any]:
    """What the library chooses, of the kernels that a record has (attention/sm90/attention.hpp)."""
    swapped = rows <= 16 and format_name.startswith("fp8")
    return times["swapped"] if swapped and "swapped" in times else times["sm90"]


def dense_fp8(record: Record) -> Rows:
    def aim(case: Dict[str, Any]) -> str:
        if case["varlen"] or case["s_k"] != 8192:
            return ""
        us = DENSE_FP8_AIMS.get((case["b"], case["h_q"], case["s_q"]))
        return us_text(us) if us else ""

    rows = []
    for item in record["results"]:
        case = item["case"]
        times = {"sm90": item["us"]["rows"], "swapped": item["us"]["swapped"]}
        chosen = contestant(times, case["h_q"] * case["s_q"], record["kv_format"])
        lengths = ", varied" * case["varlen"] + ", causal" * case["causal"]
        rows.append(
            [
                f"{case['b']} × {tokens_text(case['s_k'])}{lengths}",
                str(case["h_q"]),
                str(case["s_q"]),
                us_text(chosen["burst"]),
                aim(case),
            ]
        )
    return ["sequences × tokens", "heads", "query tokens", "Seesaw, µs", "aim, µs"], rows


def sparse(record: Record) -> Rows:
    rows = []
    for item in record["results"]:
        case = item["case"]
        ours = contestant(item["contestants"], case["h_q"], case["format"])
        theirs = item["contestants"].get("flash_mla")
        extra = f" + {case['extra_topk']:,}" if case["extra_topk"] else ""
        rows.append(
            [
                f"`{case['format']}`",
                f"{case['topk']:,}{extra}",
                str(case["b"]),
                str(case["h_q"]),
                str(case["s_q"]),
                us_text(ours["us"]),
                f"{ours['tflops']:.0f}",
                f"{ours['gbps'] / record['copy_gbps']:.2f}",
                f"{theirs['us'] / ours['us']:.2f}×" if theirs else "",
                SPARSE_AIMS.get((case["format"], case["b"], case["h_q"], case["s_q"]), ""),
            ]
        )
    header = ["cache", "slots a query token", "sequences", "heads", "query tokens", "Seesaw, µs",
              "TFLOPS", "rows a second, of a copy's bytes", "FlashMLA's time",
              "aim"]  # fmt: skip
    return header, rows


def prefill(record: Record) -> Rows:
    rows = []
    for item in record["results"]:
        case, ours, theirs = item["case"], *(item["contestants"][n] for n in ("sm90", "flash_mla"))
        rows.append(
            [
                tokens_text(case["s_q"]),
                tokens_text(case["s_kv"]),
                f"{case['topk']:,}",
                str(case["h_q"]),
                str(case["d_qk"]),
                us_text(ours["us"]),
                f"{ours['tflops']:.0f}",
                f"{theirs['us'] / ours['us']:.2f}×",
                f"{PREFILL_AIMS[case['s_kv'], case['topk']]} TFLOPS",
            ]
        )
    header = ["query tokens", "cached tokens", "slots", "heads", "d_qk", "Seesaw, µs", "TFLOPS",
              "FlashMLA's time", "aim"]  # fmt: skip
    return header, rows


def portable(record: Record) -> Rows:
    rows = []
    for item in record["results"]:
        case, us = item["case"], item["us"]
        ours = us["sm80"]["burst"]
        rows.append(
            [
                f"{case['b']} × {tokens_text(case['s_k'])}{', varied' * case['varlen']}",
                str(case["h_q"]),
                us_text(ours),
                *(f"{us[name]['burst'] / ours:.2f}×" for name in ("triton", "flashinfer", "sm90")),
            ]
        )
    header = ["sequences × tokens", "heads", "`sm80`, µs", "Triton's time", "FlashInfer's time",
              "Seesaw's kernel for Hopper"]  # fmt: skip
    return header, rows


def cache_operations(record: Record) -> Rows:
    """Of a copy of the same bytes, by operation and number of tokens."""
    tokens = sorted({item["tokens"] for item in record["results"]})
    parts: Dict[str, Dict[int, float]] = {}
    for item in record["results"]:
        parts.setdefault(item["operation"], {})[item["tokens"]] = item["of_copy"]
    rows = [
        [name, *(f"{of[count]:.2f}" if count in of else "" for count in tokens)]
        for name, of in parts.items()
    ]
    return ["operation", *(tokens_text(count) for count in tokens)], rows
