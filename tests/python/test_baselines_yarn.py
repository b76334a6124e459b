"""DeepSeekMLA with the rope scaling of the published configurations, against YaRN in float64.

The reference follows arXiv:2309.00071 (sections 3.2 to 3.4) with the published models' two choices:
the ramp runs over whole pairs, and mscale weighs the temperature.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import seesaw
from baselines_reference import (
    assert_near,
    causal,
    deepseek_mla,
    import_baselines,
    in_float64,
    random_weights,
)

baselines = import_baselines()

V3 = dict(
    hidden_size=48,
    num_attention_heads=4,
    q_lora_rank=40,
    kv_lora_rank=32,
    qk_nope_head_dim=16,
    qk_rope_head_dim=64,
    v_head_dim=20,
    rope_theta=10000,
    attention_bias=False,
    rope_scaling=dict(
        type="yarn",
        factor=40,
        original_max_position_embeddings=4096,
        beta_fast=32,
        beta_slow=1,
        mscale=1.0,
        mscale_all_dim=1.0,
    ),
)
"""DeepSeek-V3's and R1's configuration, in a smaller model."""
SCALINGS = {
    "V3, R1": {},
    "V2": dict(mscale=0.707, mscale_all_dim=0.707),
    "Kimi-K2": dict(factor=32.0, beta_fast=1.0, beta_slow=1.0),
    "amplitude": dict(mscale=1.0, mscale_all_dim=0.5, factor=8),
    "no temperature": dict(mscale=1.0, mscale_all_dim=0.0),
    "short": dict(original_max_position_embeddings=64),
}


def config_of(**scaling):
    return {**V3, "rope_scaling": {**V3["rope_scaling"], **scaling}}


def turns(pair, width, base, positions):
    """How often a pair turns in the original context."""
    return positions / (2 * math.pi) * base ** (-2 * pair / width)


def yarn(config):
    """(frequencies [R / 2], amplitude, scale) of a configuration."""
    scaling = config["rope_scaling"]
    width, base, factor = config["qk_rope_head_dim"], config["rope_theta"], scaling["factor"]
    context = scaling["original_max_position_embeddings"]
    candidates = range(-width, 2 * width)
    fast = [p for p in candidates if turns(p, width, base, context) >= scaling["beta_fast"]]
    slow = [p for p in candidates if turns(p, width, base, context) <= scaling["beta_slow"]]
    begin, end = max(max(fast), 0), min(min(slow), width - 1)
    pairs = np.arange(width // 2)
    share = np.clip((pairs - begin) / (end - begin), 0, 1) if end > begin else 1.0 * (pairs > begin)
    plain = base ** (-2 * pairs / width)
    frequencies = plain / factor * share + plain * (1 - share)

    def temperature(weight):
        return 0.1 * weight * math.log(factor) + 1

    amplitude = temperature(scaling["mscale"]) / temperature(scaling["mscale_all_dim"])
    head = config["qk_nope_head_dim"] + width
    return frequencies, amplitude, head**-0.5 * temperature(scaling["mscale_all_dim"]) ** 2


def test_frequencies_of_v3():
    """The pairs that turn 32 times in 4096 tokens stay, those that turn less than once slow down by
    40, as the paper has it; of 32 pairs, 10 to 23 lie between."""
    frequencies, amplitude, _ = yarn(V3)
    plain = 10000.0 ** (-np.arange(32) / 32)
    ratio = plain / frequencies
    assert amplitude == 1
    assert (ratio[:11] == 1).all() and np.allclose(ratio[23:], 40)
    assert (np.diff(ratio[10:24]) > 0).all()
    for pair in range(32):
        if turns(pair, 64, 10000, 4096) >= 32:
            assert ratio[pair] == 1
        if turns(pair, 64, 10000, 4096) <= 1 and pair > 23:
            assert ratio[pair] == pytest.approx(40)


@pytest.mark.parametrize("form", ["expanded", "absorbed"])
@pytest.mark.parametrize("name", SCALINGS)
def test_agrees_with_float64(name, form):
    config = config_of(**SCALINGS[name])
    layer = baselines.DeepSeekMLA.from_config(config, form=form, num_threads=1)
    weights = random_weights(layer.parameter_shapes)
    layer.load_state_dict(weights)
    batch, tokens = 2, 9
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, tokens, 48)).astype(np.float32)
    positions = rng.integers(0, 150_000, (batch, tokens)).astype(np.int32)
    frequencies, amplitude, scale = yarn(config)
    want = deepseek_mla(
        in_float64(weights),
        x.astype(np.float64),
        causal(tokens),
        num_heads=4,
        d_latent=32,
        d_nope=16,
        d_rope=64,
        positions=positions,
        scale=scale,
        rope=(frequencies, amplitude),
    )
    assert_near(layer(x, causal=True, positions=positions), want)
    assert scale == pytest.approx(seesaw.softmax_scale(config), rel=1e-14)
    plain = baselines.DeepSeekMLA.from_config({**config, "rope_scaling": None}, form=form)
    plain.load_state_dict(weights)
    difference = np.abs(plain(x, causal=True, positions=positions) - want).max()
    assert difference > 1e-2 * np.abs(want).max()  # without YaRN it is another model


def test_arguments_and_configurations_say_the_same():
    by_hand = baselines.DeepSeekMLA(
        48, 4, 40, 32, 16, 64, 20, rope_scaling=V3["rope_scaling"], num_threads=1
    )
    newer = dict(V3)
    newer["rope_parameters"] = {**newer.pop("rope_scaling"), "rope_theta": newer.pop("rope_theta")}
    weights = random_weights(by_hand.parameter_shapes)
    x = np.random.default_rng(1).standard_normal((1, 5, 48)).astype(np.float32)
    results = []
    for layer in (
        by_hand,
        baselines.DeepSeekMLA.from_config(V3, num_threads=1),
        baselines.DeepSeekMLA.from_config(SimpleNamespace(**newer), num_threads=1),
    ):
        results.append(layer.load_state_dict(weights)(x))
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


@pytest.mark.parametrize(
    "change, pattern",
    [
        (dict(rope_scaling=dict(type="linear", factor=4)), "type 'linear', allowed: \"yarn\""),
        (dict(rope_scaling=dict(type="dynamic", factor=4)), "type 'dynamic', allowed"),
        (dict(rope_scaling={**V3["rope_scaling"], "attention_factor": 2}), "attention_factor = 2"),
        (dict(rope_scaling={**V3["rope_scaling"], "factor": 0}), "factor = 0.0, allowed"),
        (
            dict(rope_scaling={**V3["rope_scaling"], "beta_fast": 0.5}),
            "rope_beta_fast = 0.5 and rope_beta_slow = 1",
        ),
        (
            dict(rope_scaling=dict(type="yarn", factor=4)),
            "original_max_position_embeddings = None",
        ),
        (dict(rope_interleave=False), "rope_interleave = False in the configuration"),
        (dict(index_topk=2048), "index_topk = 2048 in the configuration"),
        (dict(quantization_config=dict(quant_method="fp8")), "quantization_config = "),
        (dict(kv_lora_rank=None), "no kv_lora_rank in the configuration"),
    ],
)
def test_what_is_not_computed_is_refused(change, pattern):
    with pytest.raises((ValueError, TypeError), match=f"^baselines: .*{pattern}"):
        baselines.DeepSeekMLA.from_config({**V3, **change})
