"""seesaw.layers: DeepSeek's layer against equations in double precision."""

import json
import math

import pytest
import seesaw
import torch
from seesaw.layers import DeepSeekMLA, LatentCache, MLASizes

YARN = {
    "type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.9,
    "mscale_all_dim": 0.5,
}
CONFIG = {
    "hidden_size": 64,
    "num_attention_heads": 3,
    "q_lora_rank": 48,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 64,
    "v_head_dim": 48,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
FORMATS = [
    (name, known.d_latent)
    for name, known in seesaw.formats().items()
    if known.d_rope and known.d_latent in (448, 512)
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small matrices: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_layer(dtype=torch.float32, seed=0, **changes):
    """A layer of random weights; changes None leave an entry out."""
    config = {k: v for k, v in {**CONFIG, **changes}.items() if v is not None}
    torch.manual_seed(seed)
    layer = DeepSeekMLA(config, dtype=dtype)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "norm" in name:
                parameter.copy_(1 + torch.rand(parameter.shape) / 4)
            else:
                parameter.copy_(torch.randn(parameter.shape) / parameter.shape[-1] ** 0.5)
    return layer.requires_grad_(False), config


def by_definition(weights, config, x, cached=None):
    """The layer's equations, head by head in float64. cached: rows [b, n, 576] that the cache holds
    in place of what was computed."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    x = x.double()
    heads = config["num_attention_heads"]
    d_nope, d_rope = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    d_latent = config["kv_lora_rank"]

    def norm(t, weight):
        return t / (t.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).sqrt() * weight

    def linear(t, name):
        return t @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    theta = config["rope_theta"]
    yarn = config.get("rope_scaling")
    frequencies, factor, m = [], 1.0, 1.0
    for i in range(d_rope // 2):
        f = theta ** (-2 * i / d_rope)
        if yarn:
            length = yarn["original_max_position_embeddings"]

            def number(rotations, length=length):
                turns = length / (rotations * 2 * math.pi)
                return d_rope * math.log(turns) / (2 * math.log(theta))

            low = max(math.floor(number(yarn["beta_fast"])), 0)
            high = min(math.ceil(number(yarn["beta_slow"])), d_rope - 1)
            ramp = min(max((i - low) / ((high - low) or 0.001), 0.0), 1.0)
            f = f / yarn["factor"] * ramp + f * (1 - ramp)
        frequencies.append(f)
    if yarn:
        step = 0.1 * math.log(yarn["factor"])
        m = step * yarn["mscale_all_dim"] + 1
        factor = (step * yarn["mscale"] + 1) / m

    def rotary(t):  # [b, n, ..., d_rope]
        out, places = t.clone(), torch.arange(t.shape[1], dtype=torch.float64)
        places = places.view(1, -1, *[1] * (t.ndim - 3))
        for i, f in enumerate(frequencies):
            first, second = 2 * i, 2 * i + 1
            if config.get("rope_interleave") is False:
                first, second = i, i + d_rope // 2
            a, b = t[..., first], t[..., second]
            c, s = (places * f).cos() * factor, (places * f).sin() * factor
            out[..., first], out[..., second] = a * c - b * s, b * c + a * s
        return out

    if config.get("q_lora_rank"):
        q = linear(norm(linear(x, "q_a_proj"), w["q_a_layernorm.weight"]), "q_b_proj")
    else:
        q = linear(x, "q_proj")
    b, n, _ = x.shape
    q = q.view(b, n, heads, d_nope + d_rope)
    down = linear(x, "kv_a_proj_with_mqa")
    latent = norm(down[..., :d_latent], w["kv_a_layernorm.weight"])
    rope = rotary(down[..., d_latent:])
    if cached is not None:
        latent, rope = cached.double().split([d_latent, d_rope], -1)
    up = linear(latent, "kv_b_proj").view(b, n, heads, -1)
    keys, values = up[..., :d_nope], up[..., d_nope:]
    scores = torch.einsum("bqhd,bkhd->bhqk", q[..., :d_nope], keys)
    scores = scores + torch.einsum("bqhd,bkd->bhqk", rotary(q[..., d_nope:]), rope)
    scores = scores * ((d_nope + d_rope) ** -0.5 * m * m)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    weight = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    out = torch.einsum("bhqk,bkhd->bqhd", weight, values).reshape(b, n, -1)
    return linear(out, "o_proj")


@pytest.mark.parametrize("form", ["absorbed", "expanded", "auto"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_scaling": YARN},
        {"q_lora_rank": None, "rope_interleave": False},
        {"attention_bias": True, "qk_nope_head_dim": 192, "v_head_dim": 256},
    ],
    ids=["plain", "yarn", "no-q-lora", "bias-192-256"],
)
def test_a_prompt_and_steps_of_one_to_eight_tokens(changes, form):
    layer, config = make_layer(**changes)
    x = torch.randn(2, 60, 64)
    wanted = by_definition(layer.state_dict(), config, x)
    cache = layer.new_cache(2, 16)
    done = 24
    found = [layer(x[:, :done], cache=cache)]
    for s in range(1, 9):
        found.append(layer(x[:, done : done + s], cache=cache, past_tokens=done, form=form))
        done += s
    assert done == 60 and cache.capacity == 64
    assert (torch.cat(found, 1) - wanted).abs().max() < 2e-5 * wanted.abs().max()


def test_forms_agree_in_bfloat16():
    layer, config = make_layer(torch.bfloat16)
    x = torch.randn(2, 40, 64, dtype=torch.bfloat16)
    wanted = by_definition(layer.state_dict(), config, x)[:, 32:]
    for form in ("absorbed", "expanded"):
        cache = layer.new_cache(2, 64)
        layer(x[:, :32], cache=cache)
        found = layer(x[:, 32:], cache=cache, past_tokens=32, form=form)
        assert (found - wanted).abs().max() < 0.03 * wanted.abs().max(), form


@pytest.mark.parametrize("form", ["absorbed", "expanded"])
@pytest.mark.parametrize("kv_format,d_latent", [*FORMATS, ("bfloat16", 512), ("float16", 512)])
def test_every_cache_format_is_right_about_the_numbers_that_it_holds(kv_format, d_latent, form):
    """Exactly the attention over the rows that the format keeps, and no further from the exact one
    than rounding of the format explains."""
    layer, config = make_layer(kv_lora_rank=d_latent)
    x = torch.randn(2, 50, 64)
    cache = layer.new_cache(2, 10, kv_format=kv_format)
    layer(x[:, :45], cache=cache)
    found = layer(x[:, 45:], cache=cache, past_tokens=45, form=form)
    latent, rope = cache.rows(50)
    stored = torch.cat((latent, rope), -1)
    wanted = by_definition(layer.state_dict(), config, x, stored)[:, 45:]
    assert (found - wanted).abs().max() < 2e-5 * wanted.abs().max()
    exact = by_definition(layer.state_dict(), config, x)[:, 45:]
    error = (found - exact).norm() / exact.norm()
    bound = {"fp4_288": 0.4, "int8_644": 0.02, "bfloat16": 0.01, "float16": 1e-3}
    assert 1e-6 < error < bound.get(kv_format, 0.08)


def test_layers_of_a_step_share_a_schedule():
    layer, config = make_layer()
    x = torch.randn(3, 9, 64)
    cache = layer.new_cache(3, 64)
    layer(x[:, :8], cache=cache)
    before = {row.kernel: row.calls["prepare"]["ok"] for row in seesaw.stats()}
    step = layer.new_step(3, 9)
    found = [layer(x[:, 8:], cache=cache, past_tokens=8, step=step) for _ in range(4)]
    after = {row.kernel: row.calls["prepare"]["ok"] for row in seesaw.stats()}
    assert after["cpu.dense_decode"] == before["cpu.dense_decode"] + 1
    wanted = by_definition(layer.state_dict(), config, x)[:, 8:]
    assert (found[3] - wanted).abs().max() < 2e-5 * wanted.abs().max()
    assert torch.equal(found[0], found[3])


@pytest.mark.parametrize("new", [1, 3, 300])
def test_layers_of_a_step_share_places_and_rotations(monkeypatch, new):
    """Found once for all layers, decoding and while a prompt is computed."""
    from seesaw.layers import LatentCache, _deepseek

    layers = [make_layer(seed=seed)[0] for seed in range(3)]
    caches = [layer.new_cache(2, 8) for layer in layers]
    x = torch.randn(2, 5 + new, 64)
    alone = []
    for layer, cache in zip(layers, caches):
        layer(x[:, :5], cache=cache)
        alone.append(layer(x[:, 5:], cache=cache, past_tokens=5))
    calls = []

    def counted(owner, name):
        was = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: (calls.append(name), was(*given))[1])

    counted(_deepseek, "cos_sin_of")
    counted(LatentCache, "slots_of")
    step = layers[0].new_step(2, 5 + new, new)
    for layer, cache, wanted in zip(layers, caches, alone):
        found = layer(x[:, 5:], cache=cache, past_tokens=5, step=step)
        assert torch.equal(found, wanted)
    assert sorted(calls) == ["cos_sin_of", "slots_of"]


def test_a_step_of_other_tokens_is_refused():
    layer, _ = make_layer()
    cache = layer.new_cache(2, 64)
    x = torch.randn(2, 3, 64)
    for step in (layer.new_step(2, 3), layer.new_step(2, 4, 3), layer.new_step(1, 3, 3)):
        with pytest.raises(ValueError, match=r"allowed: \(2, 3, 3\). Make it by new_step\("):
            layer(x, cache=cache, step=step)


def test_gradients_are_those_of_the_definition():
    layer, config = make_layer()
    layer.requires_grad_(True)
    x = torch.randn(1, 5, 64)
    layer(x).square().sum().backward()
    weights = {n: p.detach().double().requires_grad_() for n, p in layer.named_parameters()}
    by_definition(weights, config, x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        wanted = weights[name].grad
        assert (parameter.grad - wanted).abs().max() < 1e-3 * wanted.abs().max(), name


def test_a_published_checkpoint_with_fp8_blocks(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    layer, config = make_layer(hidden_size=160)
    tensors, dequantised = {}, {}
    for name, tensor in layer.state_dict().items():
        if tensor.ndim == 2:
            rows, columns = (-(-size // 128) for size in tensor.shape)
            scales = torch.rand(rows, columns) / 64 + 1 / 64
            wide = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
            wide = wide[: tensor.shape[0], : tensor.shape[1]]
            tensors[f"{name}_scale_inv"] = scales
            stored = (tensor / wide).clamp(-448, 448).to(torch.float8_e4m3fn)
            dequantised[name] = stored.float() * wide
            tensor = stored
        tensors[name] = tensor
    prefix = "model.layers.7.self_attn."
    whole = {prefix + name: tensor.contiguous() for name, tensor in tensors.items()}
    whole["model.norm.weight"] = torch.ones(3)
    safetensors.save_file(whole, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = DeepSeekMLA.from_checkpoint(tmp_path, 7, dtype=torch.float32)
    for name, tensor in dequantised.items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(ValueError, match="has no .*q_a_proj.weight"):
        DeepSeekMLA.from_checkpoint(tmp_path, 6)


def test_caches_grow_and_are_selected():
    cache = LatentCache(2, 1, 512, 64, dtype=torch.float32, kv_format="int8_644", page_size=3)
    latent, rope = torch.randn(2, 7, 512), torch.randn(2, 7, 64)
    places = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [-1, -1, 0, 1, 2, 3, 4]])
    cache.append(latent, rope, places, 7)
    first, _ = cache.rows(7)
    assert (first[0] - latent[0]).abs().max() <= 1 / 32
    assert (first[1, :5] - latent[1, 2:]).abs().max() <= 1 / 32
    cache.append(latent, rope, places + 100 * (places >= 0), 107)
    assert cache.capacity == 108 and torch.equal(cache.rows(7)[0][0], first[0])
    cache.select(torch.tensor([1, 0, 1]))
    assert cache.batch == 3 and torch.equal(cache.rows(5)[0][0], first[1, :5])
    assert torch.equal(cache.rows(5)[0][2], first[1, :5])
    assert torch.equal(cache.rows(7)[0][1], first[0])


@pytest.mark.parametrize(
    "make,error,text",
    [
        (lambda at: at(batch=0), ValueError, "batch = 0, allowed: 1 or more"),
        (lambda at: at(capacity=-3), ValueError, "capacity = -3"),
        (lambda at: at(dtype=torch.int8), TypeError, "dtype = torch.int8"),
        (lambda at: at(kv_format="fp8_584"), ValueError, "448 . 64 columns .* 512 . 64"),
        (lambda at: at(kv_format="fp7"), ValueError, "kv_format = 'fp7'"),
    ],
)
def test_mistakes_of_a_cache(make, error, text):
    def at(batch=1, capacity=1, dtype=torch.float32, **more):
        return LatentCache(batch, capacity, 512, 64, dtype=dtype, **more)

    with pytest.raises(error, match=text):
        make(at)


def test_a_cache_that_does_not_grow_is_full():
    layer, _ = make_layer()
    cache = layer.new_cache(1, 64, grows=False)
    with pytest.raises(ValueError, match="65 tokens of a sequence, allowed: 64"):
        layer(torch.randn(1, 65, 64), cache=cache)


@pytest.mark.parametrize(
    "shape,options,error,text",
    [
        ((2, 64), {}, ValueError, "hidden_states has shape"),
        ((1, 2, 63), {}, ValueError, "hidden_states has shape"),
        ((1, 2, 64), {"form": "fast"}, ValueError, "form = 'fast', allowed: auto"),
        ((1, 2, 64), {"past_tokens": 3}, ValueError, "past_tokens = 3 without a cache"),
        ((1, 2, 64), {"form": "absorbed"}, ValueError, "without a cache"),
        ((2, 2, 64), {"cache": 1}, ValueError, "a cache of 1 sequences for hidden_states of 2"),
    ],
)
def test_mistakes_of_a_call(shape, options, error, text):
    layer, _ = make_layer()
    if "cache" in options:
        options = {"cache": layer.new_cache(options["cache"], 64)}
    with pytest.raises(error, match=text):
        layer(torch.zeros(shape), **options)
    with pytest.raises(TypeError, match="dtype torch.float64, allowed: torch.float32"):
        layer(torch.zeros(1, 1, 64, dtype=torch.float64))


@pytest.mark.parametrize(
    "changes,text",
    [
        ({"kv_lora_rank": None}, "kv_lora_rank = None"),
        ({"qk_rope_head_dim": 7}, "qk_rope_head_dim = 7 .* an even number"),
        ({"num_attention_heads": 0}, "num_attention_heads = 0"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "'linear'"),
    ],
)
def test_mistakes_of_a_configuration(changes, text):
    config = {k: v for k, v in {**CONFIG, **changes}.items() if v is not None}
    with pytest.raises(ValueError, match=text):
        MLASizes.of(config)
