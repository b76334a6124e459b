"""seesaw.baselines on CUDA tensors: agreement with PyTorch, streams, graphs, devices."""

import pytest
import torch
from baselines_reference import BOUNDS, D_MODEL, HEADS, MODELS, import_baselines
from gpu.grid import DEVICE
from torch_cpu.baselines_modules import error_of, make_module

baselines = import_baselines(DEVICE)

BATCH, TOKENS = 2, 37
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pair(name, dtype="float32"):
    module = make_module(MODELS[name], DTYPES[dtype], DEVICE)
    return module, MODELS[name].make(baselines).load_state_dict(module.state_dict())


def random_x(dtype="float32"):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, TOKENS, D_MODEL, generator=generator).to(DEVICE, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_the_module(name, dtype):
    module, layer = pair(name, dtype)
    x = random_x(dtype)
    assert layer.explain(x).backend == "cuda.cublaslt"
    heads = 1 if MODELS[name].one_pattern else HEADS
    mask = torch.rand(BATCH, heads, TOKENS, TOKENS, device=DEVICE) < 0.6
    mask[0, :, 1] = False
    for arguments in (dict(), dict(causal=True), dict(mask=mask), dict(mask=mask, causal=True)):
        assert error_of(layer(x, **arguments), module, x, **arguments) <= BOUNDS[dtype]


@pytest.mark.parametrize("name", MODELS)
def test_decodes_with_a_cache(name):
    module, layer = pair(name)
    x = random_x()
    cache = layer.new_cache(x, TOKENS).fill_(float("nan"))
    first = layer(x[:, :30].contiguous(), causal=True, cache=cache)
    steps = [
        layer(x[:, i : i + 1].contiguous(), causal=True, cache=cache, past_tokens=i)
        for i in range(30, TOKENS)
    ]
    got = torch.cat([first, *steps], dim=1)
    assert error_of(got, module, x, causal=True) <= BOUNDS["float32"]


@pytest.mark.parametrize("name", MODELS)
def test_follows_the_current_stream(name):
    """The call waits for its input, which is still being written on a second stream."""
    module, layer = pair(name)
    x = random_x()
    layer(x)  # plans, so that nothing but the stream orders what follows
    late = torch.full_like(x, float("nan"))
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        late.copy_(x)
        got = layer(late)
    side.synchronize()
    assert error_of(got, module, x) <= BOUNDS["float32"]


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_replays_with_other_inputs(name):
    module, layer = pair(name, "bfloat16")
    x = torch.zeros_like(random_x("bfloat16"))
    out = torch.empty_like(x)
    workspace = torch.empty(layer.workspace_size(x, causal=True), dtype=torch.uint8, device=DEVICE)
    layer(x, causal=True, out=out, workspace=workspace)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        layer(x, causal=True, out=out, workspace=workspace)
    x.copy_(random_x("bfloat16"))
    out.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize()
    assert error_of(out, module, x, causal=True) <= BOUNDS["bfloat16"]


def test_a_mask_on_another_device():
    _, layer = pair("mha")
    with pytest.raises(ValueError, match="mask is on cpu, allowed: cuda:0"):
        layer(random_x(), torch.ones(TOKENS, TOKENS, dtype=torch.bool))


def test_weights_on_another_device():
    import_baselines("cpu")  # skips where nothing runs there: that would be the complaint
    _, layer = pair("mha")
    with pytest.raises(ValueError, match="q_proj.weight is on cuda:0, allowed: cpu"):
        layer(random_x().cpu())
