"""seesaw.baselines on PyTorch's CPU tensors, with the state_dict of plain PyTorch modules."""

import pytest
import torch
from baselines_reference import BOUNDS, D_MODEL, HEADS, MODELS, import_baselines, threads_after
from torch_cpu.baselines_modules import error_of, make_module

baselines = import_baselines()

BATCH, TOKENS = 2, 11
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pair(name, dtype="float32", **more):
    """A PyTorch module, and the layer that has loaded its state_dict."""
    module = make_module(MODELS[name], DTYPES[dtype], **more)
    return module, MODELS[name].make(baselines, **more).load_state_dict(module.state_dict())


def random_x(dtype="float32"):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, TOKENS, D_MODEL, generator=generator).to(DTYPES[dtype])


def some_mask(name):
    heads = 1 if MODELS[name].one_pattern else HEADS
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(BATCH, heads, TOKENS, TOKENS, generator=generator) < 0.6
    mask[0, :, 1] = False
    return mask


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_module(name, dtype):
    module, layer = pair(name, dtype)
    assert list(layer.parameter_shapes) == list(layer.state_dict())
    x, mask = random_x(dtype), some_mask(name)
    for arguments in (dict(), dict(causal=True), dict(mask=mask), dict(mask=mask, causal=True)):
        assert error_of(layer(x, **arguments), module, x, **arguments) <= BOUNDS[dtype]


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_about_as_exact_as_the_module_in_bfloat16(name):
    module, layer = pair(name, "bfloat16")
    x = random_x("bfloat16")
    with torch.no_grad():
        of_torch = error_of(module(x, causal=True), module, x, causal=True)
    assert error_of(layer(x, causal=True), module, x, causal=True) <= 2 * of_torch


@pytest.mark.parametrize("name", MODELS)
def test_bias(name):
    for bias in (False, True):
        module, layer = pair(name, bias=bias)
        x = random_x()
        assert module.state_dict().keys() == layer.parameter_shapes.keys()
        assert error_of(layer(x), module, x) <= BOUNDS["float32"]


@pytest.mark.parametrize("form", ["expanded", "absorbed"])
def test_positions(form):
    module, layer = pair(f"deepseek_{form}")
    x = random_x()
    positions = torch.randint(0, 5000, (BATCH, TOKENS), dtype=torch.int32)
    got = layer(x, causal=True, positions=positions)
    assert error_of(got, module, x, causal=True, positions=positions) <= BOUNDS["float32"]


def test_decodes_with_a_cache():
    for name in MODELS:
        module, layer = pair(name)
        x = random_x()
        cache = layer.new_cache(x, TOKENS).fill_(float("nan"))
        steps = [
            layer(x[:, i : i + 1].contiguous(), causal=True, cache=cache, past_tokens=i)
            for i in range(TOKENS)
        ]
        assert error_of(torch.cat(steps, dim=1), module, x, causal=True) <= BOUNDS["float32"]


def test_calls_follow_the_number_of_threads():
    module, _ = pair("mha")
    layer = MODELS["mha"].make(baselines, num_threads=0).load_state_dict(module.state_dict())
    x = torch.randn(8, 64, D_MODEL)
    before = torch.get_num_threads()
    try:
        assert threads_after(torch.set_num_threads, lambda: layer(x)) == [0, 2, 4]
    finally:
        torch.set_num_threads(before)


def test_gradients_are_not_asked_for_and_parameters_may_change():
    module, _ = pair("mha")
    layer = MODELS["mha"].make(baselines).load_state_dict(dict(module.named_parameters()))
    x = random_x().requires_grad_()
    assert not layer(x).requires_grad
    with torch.no_grad():
        module.out_proj.weight.mul_(3)
    assert error_of(layer(x).detach(), module, x.detach()) <= BOUNDS["float32"]
    with torch.inference_mode():
        assert error_of(layer(random_x()), module, random_x()) <= BOUNDS["float32"]


def test_torch_multihead_attention_agrees():
    """PyTorch's own layer, its packed projection cut in three."""
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True)
    state = module.state_dict()
    renamed = {"out_proj.weight": state["out_proj.weight"], "out_proj.bias": state["out_proj.bias"]}
    for i, name in enumerate("qkv"):
        renamed[f"{name}_proj.weight"] = state["in_proj_weight"].chunk(3)[i]
        renamed[f"{name}_proj.bias"] = state["in_proj_bias"].chunk(3)[i]
    layer = MODELS["mha"].make(baselines).load_state_dict(renamed)
    x = random_x()
    with torch.no_grad():
        want, _ = module(x, x, x)
    torch.testing.assert_close(layer(x), want, rtol=1e-4, atol=1e-5)


def test_errors():
    module, layer = pair("mha")
    x = random_x()
    with pytest.raises(TypeError, match="x is an array of numpy, allowed: torch"):
        layer(x.numpy())
    with pytest.raises(TypeError, match="q_proj.weight has dtype"):
        layer(x.bfloat16())
    with pytest.raises(TypeError, match="x has dtype float64"):
        layer(x.double())
    with pytest.raises(TypeError, match="mask has dtype int64"):
        layer(x, torch.ones(TOKENS, TOKENS, dtype=torch.int64))
    with pytest.raises(ValueError, match="mask has shape"):
        layer(x, torch.ones(TOKENS, TOKENS + 1, dtype=torch.bool))
    with pytest.raises(TypeError, match="meta, allowed: cpu, cuda"):
        layer(x.to("meta"))
    with pytest.raises(ValueError, match="x has stride"):
        layer(x.transpose(0, 1))
    with pytest.raises(ValueError, match="has no q_proj.bias, k_proj.weight"):
        layer.load_state_dict({"q_proj.weight": module.q_proj.weight})
    with pytest.raises(TypeError, match="is an array of numpy"):
        mixed = {**module.state_dict(), "out_proj.bias": module.out_proj.bias.detach().numpy()}
        layer.load_state_dict(mixed)
