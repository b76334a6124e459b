"""bench/compare.py on the CPU: it runs, its backends agree, and it notices when one does not."""

import csv
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

import compare  # noqa: E402

TINY = "--device cpu --batch 2 --heads 4 --length 70 --s-q 2 --seconds 0 --causal --varlen".split()


def test_rows_of_every_backend_that_runs_here(tmp_path, capsys):
    path = tmp_path / "compare.csv"
    assert compare.main([*TINY, "--csv", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["backend"] for row in rows] == ["seesaw", "seesaw.compat.flash_mla", "torch"]
    assert all(float(row["out_error_of_bound"]) <= 1 and float(row["us"]) > 0 for row in rows)
    assert "flash_mla                left out: runs on GPUs only" in capsys.readouterr().out


def test_plain_shapes_have_pytorchs_own_attention_beside_them(capsys):
    tiny = "--device cpu --batch 2 --heads 4 --length 70 --seconds 0 --backends".split()
    assert compare.main([*tiny, "seesaw", "torch.sdpa"]) == 0
    assert "left out" not in capsys.readouterr().out


def test_a_wrong_result_is_outside_its_bound(capsys, monkeypatch):
    prepare = compare.BACKENDS["torch"].prepare

    def spoiled(inputs):
        call = prepare(inputs)
        return lambda: (call()[0] * 1.5, call()[1])

    monkeypatch.setattr(compare.BACKENDS["torch"], "prepare", spoiled)
    assert compare.main([*TINY, "--backends", "seesaw", "torch"]) == 1
    assert "OUTSIDE" in capsys.readouterr().out


def test_nan_is_outside_every_bound():
    out, lse = torch.ones(2), torch.ones(2)
    errors = compare.errors_of((out * float("nan"), lse), (out, lse))
    assert errors["out_error_of_bound"] == float("inf") and errors["lse_error_of_bound"] == 0
