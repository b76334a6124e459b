#!/usr/bin/env python3
"""Writes the tables of README.md and the documents from the recorded results, so that no number in
them is typed. A table stands between two comments of the Markdown:

    <!-- table: NAME --> ... <!-- end -->

Usage: doc_tables.py                  writes every table that a record tells
       doc_tables.py --check          only says which differ: exit code 1
       doc_tables.py --info FILE      writes the support matrix and the cache formats, from
                                      `seesaw info --json` of a build with CUDA; with --check it may
                                      be any build's: the kernels that it lacks are not looked at
       doc_tables.py --self-test      plants wrong tables and checks that each is found
Needs nothing but Python's standard library.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("scripts", "python", "bench/python", "bench")]

import format_tables  # noqa: E402
import performance_tables as performance  # noqa: E402
import predict  # noqa: E402

MARKED = re.compile(
    r"(?P<begin><!-- table: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<end>^<!-- end -->$)",
    re.DOTALL | re.MULTILINE,
)
SUPPORT = "support"
FORMATS: Dict[str, Callable[[Dict[str, Any]], str]] = {
    "cache-formats": format_tables.summary, "byte-maps": format_tables.byte_maps,
}  # fmt: skip
"""Tables that any build tells alike."""
OF_A_BUILD = (SUPPORT, *FORMATS)

Shape = Tuple[int, int, int]
"""(sequences, query heads, tokens of each), one query token."""

SIX_SHAPES: List[Shape] = [
    (1, 16, 8192), (1, 128, 8192), (4, 128, 8192), (16, 128, 8192), (64, 16, 8192), (128, 128, 8192),
]  # fmt: skip


def newest(pattern: str) -> Path:
    """The record of a benchmark: bench/results keeps one of each."""
    found = sorted((ROOT / "bench" / "results").glob(pattern))
    if len(found) != 1:
        raise SystemExit(
            f"doc_tables: {len(found)} records like {pattern}, needed: one. Name it in doc_tables.py."
        )
    return found[0]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def speed_ups() -> Dict[Shape, Tuple[float, Dict[str, float]]]:
    """By shape: Seesaw's microseconds, and the time of each other library over Seesaw's, taken in
    one process. FlashMLA's newest build is in a record of its own, the others in the comparison."""
    times: Dict[Shape, Dict[str, float]] = {}
    with newest("h200/*-python-compare.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["s_q"] == "1" and row["varlen"] == row["causal"] == "0":
                shape = (int(row["b"]), int(row["h_q"]), int(row["s_k"]))
                times.setdefault(shape, {})[row["backend"]] = float(row["us"])
    newer: Dict[Shape, float] = {}
    for item in json.loads(newest("h200/*-rivals.json").read_text())["results"]:
        case, us = item["case"], item["us"]
        if case["s_q"] == 1 and not case["varlen"] and not case["causal"]:
            ratio = us["flash_mla"]["burst"] / us["seesaw"]["burst"]
            newer[case["b"], case["h_q"], case["s_k"]] = ratio
    found = {}
    for shape, us in times.items():
        if shape in newer:
            ratios = {
                RIVALS[name]: value / us["seesaw"] for name, value in us.items() if name in RIVALS
            }
            found[shape] = (us["seesaw"], {"FlashMLA": newer[shape], **ratios})
    return found


RIVALS = {
    "flash_attn_3 (vllm)": "FlashAttention-3",
    "flashinfer": "FlashInfer",
    "triton (vllm)": "Triton",
}


def speed() -> str:
    known = speed_ups()
    names = ["FlashMLA", *RIVALS.values()]
    rows = []
    for shape in SIX_SHAPES:
        us, others = known[shape]
        sequences, heads, tokens = shape
        rows.append(
            [f"{sequences} × {performance.tokens_text(tokens)}", str(heads), f"{us:.1f} µs"]
            + [f"{others[name]:.2f}×" if name in others else "" for name in names]
        )
    return markdown(["sequences × tokens", "heads", "Seesaw", *names], rows)


def ratios(pattern: str) -> str:
    """What `bench/plot.py --table` prints."""
    import records
    import summary

    return summary.table(records.read(newest(pattern)).records) + "\n"


def claims(pattern: str, of: Callable[[Dict[str, Any]], bool]) -> str:
    from seesaw.report import _claims, _results
    from seesaw.report._sections import number

    rows = []
    for answer in _claims.answers(_results.read(newest(pattern))):
        values = [number(answer[key]) for key in ("formula", "counted", *_claims.ROWS)]
        if of(answer):
            rows.append([answer["claim"], answer["printed"], *("" if v == "-" else v for v in values)])
    return markdown(
        ["claim", "the notes print", "their formula gives", "counted", "measured: multi-head attention",
         "traditional MLA", "chunked"], rows,
    )  # fmt: skip


def answered(answer: Dict[str, Any]) -> bool:
    return any(
        answer[key] is not None
        for key in ("formula", "measured_mha", "measured_plain", "measured_chunked")
    )


def timed_speed_up(answer: Dict[str, Any]) -> bool:
    return answer["claim"].startswith("speed-up (") and answer["measured_plain"] is not None


def of_record(pattern: str, table: Callable[[Dict[str, Any]], performance.Rows]) -> str:
    return markdown(*table(json.loads(newest(pattern).read_text())))


TABLES: Dict[str, Callable[[], str]] = {
    "dense-h200": lambda: of_record("h200/*-rivals.json", performance.dense),
    "dense-fp8-h200": lambda: of_record("h200/*-rivals-fp8.json", performance.dense_fp8),
    "sparse-h200": lambda: of_record("h200/*-sparse.json", performance.sparse),
    "prefill-h200": lambda: of_record("h200/*-prefill.json", performance.prefill),
    "portable-h200": lambda: of_record("h200/*-rivals-sm80.json", performance.portable),
    "cache-operations-h200": lambda: of_record("h200/*-cache-operations.json", performance.cache_operations),
    "speed": speed,
    "ratios-h200": lambda: ratios("h200/*-python-compare.csv"),
    "claims-h200": lambda: claims("h200/*-compare.json", answered),
    "predictions": predict.prediction_table,
    "prediction-fit": predict.fit_table,
    "prediction-gpus": predict.gpu_table,
    "claims-cpu": lambda: claims("amd-epyc-zen5-2cpu/*-compare.json", timed_speed_up),
}


def limits_text(problem: List[Dict[str, Any]], kernel: Dict[str, Any], name: str) -> Optional[str]:
    """What a kernel takes of a field; None if the operation has no such field."""
    field = next((field for field in problem if field["name"] == name), None)
    if field is None:
        return None
    names = {value: choice for choice, value in field.get("choices", {}).items()}
    for limit in kernel["limits"]:
        if limit["field"] == name and limit["values"]:
            return ", ".join(names.get(value, str(value)) for value in limit["values"])
        if limit["field"] == name and limit["multiple_of"] > 1:
            return f"multiples of {limit['multiple_of']}"
        if limit["field"] == name and limit["most"] > 0:
            return f"up to {limit['most']}"
    return ", ".join(names.values()) or "any"


def support_rows(info: Dict[str, Any]) -> Dict[str, List[str]]:
    """A row of the support matrix by the kernel's name."""
    rows = {}
    for operation in info["operations"]:
        for kernel in operation["kernels"]:

            def takes(*names: str) -> str:
                texts = [limits_text(operation["problem"], kernel, name) for name in names]
                return next((text for text in texts if text is not None), "")

            query, cache = takes("q_dtype", "dtype", "out_dtype"), takes("kv_format")
            every = {c for field in operation["problem"] if field["name"] == "kv_format"
                     for c in field["choices"]}  # fmt: skip
            if every and set(cache.split(", ")) == every:
                cache = "in any [format](docs/cache-formats.md)"
            both = query if cache in ("", query) else f"{query}; cache {cache}"
            rows[kernel["name"]] = [
                f"`{operation['name']}`", f"`{kernel['name']}`", kernel["hardware"], both,
                takes("d_qk"), takes("d_v"), takes("page_size"),
            ]  # fmt: skip
    return rows


def support(info: Dict[str, Any]) -> str:
    return markdown(
        ["operation", "kernel", "runs on", "dtype and cache format", "d_qk", "d_v", "page size"],
        support_rows(info).values(),
    )


def lacks_support(body: str, info: Dict[str, Any]) -> List[str]:
    """Rows of a build that the matrix has not, and rows of kernels that a build with CUDA lacks."""
    lines = body.splitlines()
    rows = support_rows(info)
    wrong = [name for name, row in rows.items() if "| " + " | ".join(row) + " |" not in lines]
    if any(kernel["device"] == "cuda" for op in info["operations"] for kernel in op["kernels"]):
        shown = [line.split("|")[2].strip(" `") for line in lines[2:]]
        wrong += [name for name in shown if name not in rows]
    return wrong


def documents(root: Path) -> Iterator[Path]:
    yield from sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("ladder/*.md")])


def rewrite(text: str, name: str, tables: Dict[str, Callable[[], str]]) -> Tuple[str, List[str]]:
    """The document with its tables as they should be, and what was wrong with it."""
    wrong: List[str] = []

    def filled(match: re.Match[str]) -> str:
        if match["name"] in OF_A_BUILD and match["name"] not in tables:
            return match[0]
        if match["name"] not in tables:
            wrong.append(f"{name}: table {match['name']} is unknown, known: {', '.join(tables)}")
            return match[0]
        body = tables[match["name"]]()
        if body != match["body"]:
            wrong.append(f"{name}: table {match['name']} differs from the records")
        return match["begin"] + body + match["end"]

    begun = len(re.findall(r"^<!-- table: ", text, re.MULTILINE))
    if begun != len(MARKED.findall(text)):
        wrong.append(f"{name}: a table without <!-- end -->")
    return MARKED.sub(filled, text), wrong


def run(root: Path, tables: Dict[str, Callable[[], str]], check: bool) -> List[str]:
    """What differs; written unless only checked."""
    wrong = []
    for path in documents(root):
        text = path.read_text(encoding="utf-8")
        new, found = rewrite(text, str(path.relative_to(root)), tables)
        wrong += found
        if new != text and not check:
            path.write_text(new, encoding="utf-8")
    return wrong


def check_support(root: Path, info: Dict[str, Any]) -> List[str]:
    wrong = []
    for path in documents(root):
        for match in MARKED.finditer(path.read_text(encoding="utf-8")):
            if match["name"] == SUPPORT:
                for kernel in lacks_support(match["body"], info):
                    wrong.append(f"{path.relative_to(root)}: support of {kernel} is not the build's")
    return wrong


def self_test() -> bool:
    tables = {"a": lambda: markdown(["x"], [["1"]])}
    good = "# T\n<!-- table: a -->\n| x |\n| --- |\n| 1 |\n<!-- end -->\ntext\n"
    info = {
        "operations": [
            {
                "name": "op",
                "problem": [
                    {"name": "q_dtype", "choices": {"float32": 1, "bfloat16": 2}},
                    {"name": "page_size"},
                ],
                "kernels": [
                    {
                        "name": "k", "device": "cuda", "hardware": "a GPU",
                        "limits": [{"field": "q_dtype", "values": [2], "multiple_of": 1, "most": 0},
                                   {"field": "page_size", "values": [], "multiple_of": 64,
                                    "most": 0}],
                    }
                ],
            }
        ]
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        page = root / "a.md"
        page.write_text(good)
        if run(root, tables, check=True):
            print("doc_tables: refused a good table", file=sys.stderr)
            return False
        for bad in (good.replace("| 1 |", "| 2 |"), good.replace("table: a", "table: b"),
                    good.replace("<!-- end -->", "")):  # fmt: skip
            page.write_text(bad)
            if not run(root, tables, check=True) or page.read_text() != bad:
                print(f"doc_tables: did not refuse, or changed:\n{bad}", file=sys.stderr)
                return False
        page.write_text(good.replace("| 1 |", "| 2 |"))
        run(root, tables, check=False)
        if page.read_text() != good:
            print("doc_tables: did not write the table", file=sys.stderr)
            return False
        matrix = support(info)
        if "| `op` | `k` | a GPU | bfloat16 |  |  | multiples of 64 |\n" not in matrix:
            print(f"doc_tables: wrong support matrix:\n{matrix}", file=sys.stderr)
            return False
        for body, expected in ((matrix, 0), (matrix.replace("64", "32"), 1),
                               (matrix + matrix.splitlines()[2].replace("`k`", "`l`"), 1)):  # fmt: skip
            page.write_text(f"<!-- table: support -->\n{body.rstrip()}\n<!-- end -->\n")
            if len(check_support(root, info)) != expected:
                print(f"doc_tables: expected {expected} faults in:\n{body}", file=sys.stderr)
                return False
    print("doc_tables: self-test passed")
    return True


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\nUsage")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if any differs")
    parser.add_argument("--info", type=Path, help="output of `seesaw info --json`")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.self_test:
        return 0 if self_test() else 1
    tables = dict(TABLES)
    wrong: List[str] = []
    if arguments.info:
        info = json.loads(arguments.info.read_text())
        tables.update({name: lambda make=make: make(info) for name, make in FORMATS.items()})
        if arguments.check:
            wrong += check_support(ROOT, info)
        else:
            tables[SUPPORT] = lambda: support(info)
    wrong += run(ROOT, tables, arguments.check)
    if arguments.check:
        for line in wrong:
            print(f"{line}. Run scripts/doc_tables.py.")
        if not wrong:
            print("doc_tables: every table is what the records say")
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
