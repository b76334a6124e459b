"""Reads results: the CSV of bench/compare.py, the JSON of the benchmarks for CPU and GPU."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

D_QK, D_V = 576, 512


@dataclass(frozen=True)
class Record:
    device: str
    backend: str
    b: int
    s_q: int
    h_q: int
    s_k: int
    varlen: bool
    causal: bool
    dtype: str
    l2: str
    regime: str
    threads: int  # 0: not a CPU's
    us: float
    us_p10: float
    us_p90: float
    tflops: float
    gbps: float

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.tflops * 1e3 / self.gbps

    @property
    def run(self) -> tuple:
        """Records of one run differ in shape, mask and backend only."""
        return (self.device, self.dtype, self.l2, self.regime, self.threads)

    @property
    def kind(self) -> tuple:
        """Records of one kind differ in batch, heads, length and backend only."""
        return (
            self.device, self.s_q, self.varlen, self.causal, self.dtype, self.l2, self.regime,
            self.threads,
        )  # fmt: skip


@dataclass(frozen=True)
class Roofs:
    tflops: float
    gbps: float


@dataclass(frozen=True)
class Results:
    records: List[Record]
    roofs: Optional[Roofs]


def short(tokens: int) -> str:
    """1024 -> 1k."""
    return f"{tokens // 1024}k" if tokens >= 1024 and tokens % 1024 == 0 else str(tokens)


def read(path: Path) -> Results:
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise ValueError(
        f"plot: {path}, allowed: .csv of bench/compare.py, .json of the benchmarks. Check the name."
    )


def _record(row: Dict[str, Any], device: str, backend: str) -> Record:
    return Record(
        device=device,
        backend=backend,
        b=int(row["b"]),
        s_q=int(row["s_q"]),
        h_q=int(row["h_q"]),
        s_k=int(row["s_k"]),
        varlen=bool(int(row["varlen"])),
        causal=bool(int(row["causal"])),
        dtype=row["dtype"],
        l2=row["l2"],
        regime=row.get("regime", "short"),
        threads=int(row.get("threads", 0)),
        us=float(row["us"]),
        us_p10=float(row["us_p10"]),
        us_p90=float(row["us_p90"]),
        tflops=float(row["tflops"]),
        gbps=float(row["gbps"]),
    )


def _read_csv(path: Path) -> Results:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Results([_record(row, row["device"], row["backend"]) for row in rows], None)


def _read_json(path: Path) -> Results:
    data = json.loads(path.read_text())
    roofs = data.get("roofs", {})
    if "cublas_bf16_tflops" in roofs:
        found = Roofs(roofs["cublas_bf16_tflops"], roofs["hbm_read_gbps"])
    elif "cpu_read_gbps" in roofs:
        peak = (roofs.get("cpu_amx_first_cache_gflops")
                or max(roofs.get("cpu_bf16_dot_gflops", 0), roofs["cpu_float_fma_gflops"]))
        found = Roofs(peak / 1e3, roofs["cpu_read_gbps"])
    else:
        found = None
    records = [
        _record(row, data["device"], row["kernel"])
        for row in data["results"]
        if row.get("op", "dense_decode") == "dense_decode"
    ]
    return Results(records, found)
