"""bench/plot.py on results of both kinds."""

import csv
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import plot  # noqa: E402


def rows(us_per_token):
    for h_q in (16, 128):
        for b in (1, 4, 64):
            for s_k in (1024, 8192):
                us = 5 + b * s_k * us_per_token
                yield dict(
                    b=b,
                    s_q=1,
                    h_q=h_q,
                    s_k=s_k,
                    varlen=False,
                    causal=False,
                    dtype="bfloat16",
                    l2="warm",
                    regime="short",
                    us=us,
                    us_p10=us * 0.9,
                    us_p90=us * 1.2,
                    tflops=2e-6 * h_q * b * s_k * 1088 / us,
                    gbps=2e-3 * b * s_k * 576 / us,
                )


def figures_of(path, output, *options):
    assert plot.main([str(path), "--output", str(output), *options]) == 0
    made = sorted(output.glob("*.png"))
    assert all(figure.stat().st_size > 10_000 for figure in made)
    return [figure.name.partition("-")[0] for figure in made]


def test_json_of_the_benchmark(tmp_path):
    data = dict(
        device="a GPU",
        roofs=dict(cublas_bf16_tflops=780, hbm_read_gbps=4400),
        results=[dict(row, op="dense_decode", kernel="sm90.dense_decode") for row in rows(1e-3)],
    )
    path = tmp_path / "result.json"
    path.write_text(json.dumps(data))
    assert figures_of(path, tmp_path / "out") == ["latency", "rates", "roofline"]


def test_csv_of_a_comparison(tmp_path, capsys):
    path = tmp_path / "compare.csv"
    with path.open("w", newline="") as file:
        writer = None
        for backend, speed in (("seesaw", 1e-3), ("flash_mla", 2e-3), ("torch", 9e-3)):
            for row in rows(speed):
                row = dict(row, device="a GPU", backend=backend, varlen=0, causal=0)
                writer = writer or csv.DictWriter(file, list(row))
                if file.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
    options = ["--roof-tflops", "780", "--roof-gbps", "4400", "--label", "here", "--table"]
    kinds = figures_of(path, tmp_path / "out", *options)
    assert kinds == ["latency", "rates", "roofline", "speedups"]
    assert all(figure.stem.endswith("-here") for figure in (tmp_path / "out").iterdir())
    table = capsys.readouterr().out
    # 12 shapes; the time is 5 us and 1, 2 or 9 ns a token: 1.17 to 2 times as long, 2.36 to 8.92.
    assert "| `flash_mla` | 12 | " in table and "| 1.17 (b 1, h_q 16, s_q 1, s_k 1k) |" in table
    assert "| `torch` | 12 | " in table and "8.92 (b 64, h_q 16, s_q 1, s_k 8k) | 0 |" in table


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allowed: .csv"):
        plot.main([str(tmp_path / "result.txt"), "--output", str(tmp_path)])
