"""python -m seesaw.serve_bench: its trace, its clock, its figures, and a run of a small model."""

import json
import re
import subprocess
import sys
import types

import pytest
import seesaw
import torch

pytest.importorskip("transformers")

from seesaw.serve_bench import __main__ as command
from seesaw.serve_bench import _arguments, _models, _run, _served, _transformers, _vllm
from seesaw.serve_bench._requests import (
    Refusal,
    Request,
    prompts_of,
    random_trace,
    range_of,
    read_trace,
)

SMALL = {
    **_models.presets()["tiny"],
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 99,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SMALL))
    return path


def small_model(seed=0):
    return _models.build(SMALL, torch.float32, "cpu", seed)


# ---- the trace -------------------------------------------------------------------------------


def test_a_random_trace():
    trace = random_trace(200, 4.0, (3, 9), (1, 5), seed=1)
    assert trace == random_trace(200, 4.0, (3, 9), (1, 5), seed=1)
    assert trace != random_trace(200, 4.0, (3, 9), (1, 5), seed=2)
    assert {request.prompt_tokens for request in trace} == set(range(3, 10))
    assert {request.new_tokens for request in trace} == set(range(1, 6))
    arrivals = [request.arrival_s for request in trace]
    assert arrivals == sorted(arrivals) and arrivals[0] == 0
    assert 30 < arrivals[-1] < 75  # 199 waits of a quarter second
    assert all(r.arrival_s == 0 for r in random_trace(5, 0.0, (1, 1), (1, 1), seed=0))


def test_prompts():
    trace = [Request(0, 50, 1), Request(0, 3, 1)]
    prompts = prompts_of(trace, 99, seed=3)
    assert [len(prompt) for prompt in prompts] == [50, 3]
    assert prompts == prompts_of(trace, 99, seed=3) != prompts_of(trace, 99, seed=4)
    assert min(map(min, prompts)) >= 3 and max(map(max, prompts)) < 99


def test_a_trace_of_a_file(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"arrival_s": 2, "prompt_tokens": 7, "new_tokens": 3}\n\n'
        '{"new_tokens": 1, "arrival_s": 0.5, "prompt_tokens": 2}\n'
    )
    assert read_trace(path) == [Request(0.5, 2, 1), Request(2.0, 7, 3)]
    for line in ('{"arrival_s": 2}', "[]", "nonsense"):
        path.write_text(line)
        with pytest.raises(Refusal, match="trace.jsonl:1: .*needed: a JSON object of arrival_s, "):
            read_trace(path)
    for bad in ('"x"', "-1", "true"):
        path.write_text(f'{{"arrival_s": {bad}, "prompt_tokens": 7, "new_tokens": 3}}')
        with pytest.raises(Refusal, match="arrival_s from 0 on"):
            read_trace(path)
    path.write_text('{"arrival_s": 0, "prompt_tokens": 0, "new_tokens": 3}')
    with pytest.raises(Refusal, match="tokens from 1 on"):
        read_trace(path)
    path.write_text("\n")
    with pytest.raises(Refusal, match="has no request"):
        read_trace(path)
    with pytest.raises(Refusal, match="nowhere: No such file"):
        read_trace(tmp_path / "nowhere")


def test_ranges():
    assert range_of("12", "--new") == (12, 12) and range_of("3-9", "--new") == (3, 9)
    for bad in ("", "0", "9-3", "a-b", "-5", "1-2-3"):
        with pytest.raises(Refusal, match=f"--new = {bad}, allowed: a number from 1 on"):
            range_of(bad, "--new")


# ---- the model -------------------------------------------------------------------------------


def test_presets_are_models_of_mla():
    for name in _models.presets():
        config = _models.read_config(name)
        assert seesaw.softmax_scale(config) > 0
        made = _models.transformers_config(config)
        assert made.kv_lora_rank == config["kv_lora_rank"], name
        assert made.num_hidden_layers == config["num_hidden_layers"], name


def test_a_configuration_of_a_file(tmp_path, config):
    lists = {**SMALL, "num_hidden_layers": 4, "mlp_layer_types": list("abcd"), "auto_map": {}}
    config.write_text(json.dumps(lists))
    for name in (str(config), str(tmp_path)):
        found = _models.read_config(name, layers=3)
        assert found["num_hidden_layers"] == 3 and found["mlp_layer_types"] == list("abc")
        assert "auto_map" not in found
    with pytest.raises(Refusal, match="--layers = 5, allowed: 1 to 4"):
        _models.read_config(str(config), layers=5)
    with pytest.raises(Refusal, match="nothing: No such file.*one of tiny, deepseek-v2-lite"):
        _models.read_config("nothing")
    config.write_text("{")
    with pytest.raises(Refusal, match="not JSON"):
        _models.read_config(str(config))
    config.write_text('{"model_type": "llama"}')
    with pytest.raises(Refusal, match="has no kv_lora_rank.*a model with MLA"):
        _models.read_config(str(config))
    with pytest.raises(Refusal, match="no configuration of type 'nonesuch'"):
        _models.build({**SMALL, "model_type": "nonesuch"}, torch.float32, "cpu", 0)


def test_weights_are_of_the_seed():
    first, same, other = (small_model(seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# ---- the clock and the figures ---------------------------------------------------------------


def test_batches_are_of_those_that_wait(monkeypatch):
    """Five requests, two at once; a step of generate takes one second here."""
    batches = []

    def generate(model, prompts, new_tokens, told):
        batches.append([len(prompt) for prompt in prompts])
        moments = [float(i + 1) for i in range(max(new_tokens))]
        return [[7] * n for n in new_tokens], moments, types.SimpleNamespace(layers=[])

    monkeypatch.setattr(_transformers, "generate", generate)
    trace = [
        Request(0.0, 1, 2),
        Request(0.5, 2, 3),  # comes while the first is served
        Request(1.0, 3, 1),
        Request(1.5, 4, 1),
        Request(20.0, 5, 1),  # after a wait
    ]
    served = _transformers.serve(None, trace, prompts_of(trace, 99, 0), batch=2)
    assert batches == [[1], [2, 3], [4], [5]]
    assert served.first == [1.0, 3.0, 3.0, 6.0, 21.0]
    assert served.last == [2.0, 5.0, 3.0, 6.0, 21.0]
    assert served.busy_s == 7.0 and served.prefill_s == [1.0] * 4 and served.decode_s == [1.0] * 3
    assert [len(tokens) for tokens in served.tokens] == [2, 3, 1, 1, 1]
    figures = _served.figures_of([served], trace)
    assert figures["tokens_per_s"]["median"] == 8 / 7
    assert figures["first_token_ms"]["median"] == 2000 and figures["request_ms"]["p10"] < 2000
    assert figures["decode_ms"] == {"median": 1000, "p10": 1000, "p90": 1000}


def test_figures():
    assert _served.spread([3.0, 1.0, 2.0]) == {
        "median": 2.0,
        "p10": pytest.approx(1.2),
        "p90": pytest.approx(2.8),
    }
    assert _served.spread([5.0]) == {"median": 5.0, "p10": 5.0, "p90": 5.0}
    assert _served.agreement([[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 5]]) == 1
    assert _served.agreement([[1, 9, 3], [4, 5]], [[1, 2, 3], [4, 5]]) == 3 / 5
    one = _served.Served([1.0], [1.0], [[3]], busy_s=1.0, prefill_s=[1.0])
    assert _served.figures_of([one], [Request(0, 4, 1)])["decode_ms"] is None


class FakeEngine:
    """vLLM's: each step gives every request one token; a prompt's first step gives none."""

    def __init__(self):
        self.running = {}

    def add_request(self, name, prompt, limits):
        self.running[name] = [0, limits.max_tokens, len(prompt["prompt_token_ids"])]

    def has_unfinished_requests(self):
        return bool(self.running)

    def step(self):
        outputs = []
        for name, state in list(self.running.items()):
            state[0] += 1
            made = [7] * max(0, state[0] - 1)
            done = len(made) == state[1]
            text = types.SimpleNamespace(token_ids=made)
            outputs.append(types.SimpleNamespace(request_id=name, outputs=[text], finished=done))
            if done:
                del self.running[name]
        return outputs


def test_the_loop_of_vllm(monkeypatch):
    stand_in = types.ModuleType("vllm")
    stand_in.SamplingParams = lambda **given: types.SimpleNamespace(**given)
    monkeypatch.setitem(sys.modules, "vllm", stand_in)
    ticks = iter(range(1000))
    monkeypatch.setattr(_vllm.time, "perf_counter", lambda: float(next(ticks)))
    trace = [Request(0.0, 3, 3), Request(1.5, 2, 1), Request(50.0, 4, 2)]
    served = _vllm.serve(FakeEngine(), trace, prompts_of(trace, 99, 0))
    assert served.tokens == [[7] * 3, [7], [7] * 2]
    assert served.first == [2.0, 4.0, 52.0] and served.last == [4.0, 4.0, 53.0]
    assert served.busy_s == 7.0
    assert len(served.prefill_s) == 6 and len(served.decode_s) == 1


# ---- the command -----------------------------------------------------------------------------


def run(capsys, *arguments):
    code = command.main(["--quiet", "--threads", "1", *map(str, arguments)])
    return (code, *capsys.readouterr())


def test_a_small_model(capsys, tmp_path, config):
    """Every attention makes the same tokens in float32; a cache in int8 is smaller."""
    asked = ["eager", "sdpa", "seesaw", "seesaw:int8_644"]
    before = {row.kernel: row.calls["run"]["ok"] for row in seesaw.stats()}
    code, out, err = run(
        capsys, "--model", config, "--requests", 5, "--batch", 2, "--prompt", "3-40",
        "--new", "2-6", "--rate", 50, "--rounds", 2, "--attention", *asked,
        f"--json={tmp_path / 'serve.json'}",
    )  # fmt: skip
    assert code == 0, err
    after = {row.kernel: row.calls["run"]["ok"] for row in seesaw.stats()}
    assert after["cpu.dense_decode"] > before.get("cpu.dense_decode", 0)
    report = json.loads((tmp_path / "serve.json").read_text())
    assert report["benchmark"] == "serve" and report["config"] == SMALL
    assert report["stopped_early"] is False and len(report["requests"]) == 5
    results = {result["attention"]: result for result in report["results"]}
    assert list(results) == asked
    for name, result in results.items():
        figures = result["figures"]
        assert result["why_not"] is None and result["rounds"] == 2
        assert [layer["layer"] for layer in result["layers"]] == [0, 1]
        for layer in result["layers"]:
            assert all(layer[part] > 0 for part in layer if part != "layer"), layer
        assert figures["tokens_per_s"]["p10"] > 0
        assert 0 < figures["decode_ms"]["p10"] <= figures["decode_ms"]["median"]
        assert figures["first_token_ms"]["median"] <= figures["request_ms"]["median"]
        if ":" not in name:
            assert result["same_tokens"] == 1
            assert figures["kv_bytes_per_token"] == 2 * 576 * 4
        assert name in out
    assert results["seesaw:int8_644"]["figures"]["kv_bytes_per_token"] < 2 * 660
    assert "tokens/s" in out and "a layer" in out.lower()


def test_json_alone_and_a_figure(capsys, tmp_path, config):
    pytest.importorskip("matplotlib")
    small = ["--model", config, "--requests", 1, "--new", 2, "--prompt", 4, "--rounds", 1]
    for name, begins in (("serve.svg", b"<?xml"), ("serve.png", b"\x89PNG")):
        figure = tmp_path / name
        code, out, _ = run(capsys, *small, "--attention", "seesaw", "--json", "--figure", figure)
        assert code == 0 and json.loads(out)["results"][0]["attention"] == "seesaw"
        assert figure.read_bytes().startswith(begins)
    text = (tmp_path / "serve.svg").read_text()
    for title in ("New tokens a second", "Cache of a token", "Attention of each layer"):
        assert title in text
    assert not list(tmp_path.glob(".*.part"))


def test_by_default_all_that_is_installed_run(capsys, config):
    small = ["--model", config, "--requests", 1, "--new", 1, "--prompt", 4, "--rounds", 1]
    code, out, _ = run(capsys, *small, "--json")
    assert code == 0
    report = json.loads(out)
    assert [result["attention"] for result in report["results"]] == ["eager", "sdpa", "seesaw"]
    assert all(result["figures"]["decode_ms"] is None for result in report["results"])


def test_an_attention_that_cannot_run_says_why(capsys, config):
    small = ["--model", config, "--requests", 1, "--new", 2, "--prompt", 4, "--rounds", 1, "--json"]
    code, out, _ = run(capsys, *small, "--attention", "flash_attention_2", "sdpa")
    first, second = json.loads(out)["results"]
    assert code == command.FAILED == 3
    assert first["why_not"] and first["figures"] is None and first["same_tokens"] is None
    assert second["why_not"] is None and second["figures"]["tokens_per_s"]["median"] > 0


def test_a_model_that_seesaw_has_not_is_compared_without_it(config):
    said = []
    arguments = types.SimpleNamespace(attention=None, device="cpu")
    found = _arguments.attentions_of(arguments, {"model_type": "deepseek_v32"}, said.append)
    assert found == ["eager", "sdpa"] and "has no deepseek_v32" in said[0]


def test_what_is_measured_stays_when_it_is_stopped(capsys, monkeypatch, config):
    serve, calls = _transformers.serve, []

    def stopped(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return serve(*given)

    monkeypatch.setattr(_transformers, "serve", stopped)
    code, out, _ = run(
        capsys, "--model", config, "--requests", 1, "--new", 2, "--prompt", 4, "--json",
        "--attention", "sdpa", "seesaw",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 130 and report["stopped_early"]
    assert [result["rounds"] for result in report["results"]] == [1, 1]


@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--batch", "0"], "--batch = 0, allowed: 1 or more"),
        (["--rounds", "-1"], "--rounds = -1, allowed: 1 or more"),
        (["--rate", "nan"], "--rate = nan, allowed: 0 or more"),
        (["--rate", "-2"], "--rate = -2.0, allowed: 0 or more"),
        (["--prompt", "9-3"], "--prompt = 9-3, allowed"),
        (["--prompt", "16384"], "16400 tokens of a request, allowed: 16384"),
        (["--figure", "x.pdf"], r"x.pdf, allowed: names in .svg, .png"),
        (["--figure", "/nowhere/x.svg"], "/nowhere/x.svg cannot be written"),
        (["--json=/nowhere/x.json"], "/nowhere/x.json cannot be written"),
        (["--attention", "nobody"], "--attention: nobody, allowed: eager, .*seesaw:FORMAT"),
        (["--attention", "sdpa:fp8_656"], "--attention: sdpa:fp8_656, allowed"),
        (["--attention", "seesaw:fp9"], "kv_format = 'fp9', allowed"),
        (["--attention", "sdpa", "sdpa"], "each name once"),
        (["--backend", "CUSTOM"], "--backend with --engine transformers, allowed"),
        (["--device", "tpu"], "--device = tpu, allowed: cpu"),
        (["--nonsense"], "unrecognized arguments: --nonsense, needed"),
        (["--dtype", "int8"], "invalid choice"),
    ],
)
def test_refusals(capsys, monkeypatch, arguments, says):
    monkeypatch.setattr(command, "build", lambda *given: pytest.fail("nothing may be built"))
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert re.search(says, err), err
    assert re.search(r"(allowed|needed): [^\n]+\. [^\n]+\.\n", err), err


def test_help_has_examples():
    done = subprocess.run(
        [sys.executable, "-m", "seesaw.serve_bench", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.count("python -m seesaw.serve_bench") >= 5
    assert "Exit codes" in done.stdout


def test_progress_is_told():
    lines = []
    stream = types.SimpleNamespace(write=lines.append, flush=lambda: None)
    progress = _run.Progress(stream)
    progress.begin("sdpa, round 1 of 2", 100)
    progress.told(4)
    assert not lines
    progress._said -= 60
    progress.told(4)
    assert "".join(lines) == "serve_bench: sdpa, round 1 of 2: 8 of 100 tokens\n"
