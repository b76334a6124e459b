"""bench/predict.py: the model fits what it was fitted to, and says what it is."""

import csv
import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import predict  # noqa: E402


def test_it_fits_the_record_that_it_was_fitted_to():
    times = predict.measured()
    found = predict.errors(predict.fit(times), times).values()
    assert math.sqrt(sum(error * error for error in found) / len(found)) < 0.15
    assert max(map(abs, found)) < 0.35
    # A model of any other numbers is worse.
    best = predict.fit(times)

    def loss(model):
        return sum(error * error for error in predict.errors(model, times).values())

    for name, factor in itertools.product(vars(best), (0.95, 1.05)):
        assert loss(replace(best, **{name: getattr(best, name) * factor})) > loss(best), name


def test_a_fit_finds_the_numbers_that_times_were_made_with():
    model = predict.Model(fixed_clocks=20000.0, read_share=0.9, tile_clocks=3000.0)
    times = {shape: model.us(predict.MEASURED, shape) for shape in predict.shapes()}
    found = predict.fit(times)
    for name, value in vars(model).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


def test_times_grow_with_the_problem_and_fall_with_the_gpu():
    model = predict.fit(predict.measured())
    shape = predict.Shape(b=16, h_q=128, s_k=8192)
    for gpu in predict.GPUS:
        for larger in ({"b": 32}, {"s_k": 16384}, {"h_q": 256}):
            assert model.us(gpu, replace(shape, **larger)) > model.us(gpu, shape)
        many = predict.Shape(b=128, h_q=16, s_k=8192)
        faster = replace(gpu, read_gbps=2 * gpu.read_gbps)
        assert model.bound_by(gpu, many) == "reading"
        assert model.us(faster, many) < model.us(gpu, many)
        assert model.us(replace(gpu, sms=2 * gpu.sms), shape) < model.us(gpu, shape)
        slow = replace(gpu, bf16_tflops=gpu.bf16_tflops / 10)
        assert model.us(slow, shape) > model.us(gpu, shape)


def test_the_shapes_are_those_of_the_comparison():
    (record,) = (ROOT / "bench" / "results" / "h200").glob("*-python-compare.csv")
    with record.open(newline="") as file:
        compared = {(int(row["b"]), int(row["h_q"]), int(row["s_k"])) for row in csv.DictReader(file)}
    assert {(shape.b, shape.h_q, shape.s_k) for shape in predict.shapes()} == compared
    assert len(list(predict.shapes())) == 30


def test_small_shared_memory_holds_one_block_of_16_rows():
    of = {gpu.name: gpu.blocks_of_16_rows for gpu in predict.GPUS}
    assert of == {"h200": 2, "a100": 2, "l40s": 1, "rtx4090": 1, "rtx5090": 1}


def test_the_command(capsys):
    shape = ["--batch", "8", "--heads", "64", "--length", "4096"]
    assert predict.main(["--gpu", "a100", "rtx5090", *shape, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "predictions, not measurements"
    assert [row["gpu"] for row in said["results"]] == ["a100", "rtx5090"]
    assert all(row["predicted_us"] > 0 for row in said["results"])
    assert predict.main([]) == 0
    text = capsys.readouterr().out
    assert "not measurements" in text and text.count(" | 16 | ") + text.count(" | 128 | ") == 30


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--gpu", "voodoo"], "--gpu voodoo, known: h200, a100"),
        (["--batch", "8"], "needed: all or none"),
        (["--batch", "0", "--heads", "1", "--length", "1"], "a shape below 1"),
    ],
)
def test_bad_input_is_refused(arguments, part, capsys):
    with pytest.raises(SystemExit) as refusal:
        predict.main(arguments)
    assert part in str(refusal.value) + capsys.readouterr().err
