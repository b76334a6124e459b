"""Every malformed use of seesaw.baselines raises, with a message of four parts."""

import re

import numpy as np
import pytest
from baselines_reference import D_MODEL, HEADS, MODELS, import_baselines, random_weights, random_x

baselines = import_baselines()

FOUR_PARTS = re.compile(r"^[a-z_]+: .+, allowed: .+\. .+\.$", re.DOTALL)
BATCH, TOKENS = 2, 5


def refused(error, pattern, function, *arguments, **more):
    with pytest.raises(error, match=pattern) as caught:
        function(*arguments, **more)
    assert FOUR_PARTS.match(str(caught.value)), str(caught.value)


def spoiled(name, change):
    """A state_dict of multi-head attention with one array changed."""
    weights = random_weights(MODELS["mha"].make(baselines).parameter_shapes)
    weights[name] = change(weights[name])
    return weights


def without(name):
    weights = spoiled(name, lambda array: array)
    del weights[name]
    return weights


STATE_DICTS = {
    "missing": (ValueError, "has no k_proj.weight", lambda: without("k_proj.weight")),
    "missing_bias": (ValueError, "has no out_proj.bias", lambda: without("out_proj.bias")),
    "unknown": (
        ValueError,
        "has extra.weight",
        lambda: {**spoiled("q_proj.bias", lambda a: a), "extra.weight": np.zeros(1)},
    ),
    "shape": (
        ValueError,
        r"k_proj.weight has shape \[47, 48\], allowed: \[48, 48\]",
        lambda: spoiled("k_proj.weight", lambda a: a[1:]),
    ),
    "transposed_bias": (
        ValueError,
        "q_proj.bias has shape",
        lambda: spoiled("q_proj.bias", lambda a: a[None]),
    ),
    "float64": (
        TypeError,
        "q_proj.weight has dtype float64",
        lambda: spoiled("q_proj.weight", lambda a: a.astype("f8")),
    ),
    "int32": (
        TypeError,
        "q_proj.weight has dtype int32",
        lambda: spoiled("q_proj.weight", lambda a: a.astype("i4")),
    ),
    "mixed": (
        TypeError,
        "v_proj.weight has dtype float16, allowed: float32, as q_proj.weight",
        lambda: spoiled("v_proj.weight", lambda a: a.astype("f2")),
    ),
    "list": (
        TypeError,
        "q_proj.weight of type list",
        lambda: spoiled("q_proj.weight", lambda a: a.tolist()),
    ),
}


@pytest.mark.parametrize("name", STATE_DICTS)
def test_state_dict_refused(name):
    error, pattern, make = STATE_DICTS[name]
    layer = MODELS["mha"].make(baselines)
    refused(error, pattern, layer.load_state_dict, make())
    # Nothing was loaded.
    refused(ValueError, "without parameters", layer, random_x(BATCH, TOKENS))


def given(**changes):
    return {"x": random_x(BATCH, TOKENS), **changes}


CALLS = {
    "x_rank": (ValueError, "x has rank 2", given(x=random_x(1, TOKENS)[0])),
    "x_list": (TypeError, "x of type list", given(x=[1.0])),
    "x_columns": (ValueError, "x has shape", given(x=np.zeros((2, 5, D_MODEL + 1), "f4"))),
    "x_float64": (TypeError, "x has dtype float64", given(x=np.zeros((2, 5, D_MODEL)))),
    "x_float16": (TypeError, "q_proj.weight has dtype", given(x=np.zeros((2, 5, D_MODEL), "f2"))),
    "x_no_tokens": (ValueError, "tokens = 0", given(x=np.zeros((2, 0, D_MODEL), "f4"))),
    "x_strided": (ValueError, "x has stride", given(x=random_x(BATCH, 2 * TOKENS)[:, ::2])),
    "mask_float": (TypeError, "mask has dtype float32", given(mask=np.ones((5, 5), "f4"))),
    "mask_list": (TypeError, "mask of type", given(mask=[[1]])),
    "mask_rank": (ValueError, "mask has rank 1", given(mask=np.ones(5, bool))),
    "mask_keys": (ValueError, "mask has shape", given(mask=np.ones((5, 6), bool))),
    "mask_batch": (ValueError, "mask has shape", given(mask=np.ones((3, 5, 5), bool))),
    "mask_heads": (ValueError, "mask has shape", given(mask=np.ones((1, 3, 5, 5), bool))),
    "out_shape": (ValueError, "out has shape", given(out=np.zeros((2, 4, D_MODEL), "f4"))),
    "out_dtype": (TypeError, "out has dtype", given(out=np.zeros((2, 5, D_MODEL), "f2"))),
    "cache_rank": (ValueError, "cache has rank 2", given(cache=np.zeros((9, 96), "f4"))),
    "cache_width": (ValueError, "cache has shape", given(cache=np.zeros((2, 9, 95), "f4"))),
    "cache_short": (ValueError, "cache_capacity", given(cache=np.zeros((2, 4, 96), "f4"))),
    "cache_dtype": (TypeError, "cache has dtype", given(cache=np.zeros((2, 9, 96), "f2"))),
    "past_without_cache": (ValueError, "past_tokens = 1", given(past_tokens=1)),
    "past_too_many": (
        ValueError,
        "past_tokens = 5, allowed: 0 to 4",
        given(cache=np.zeros((2, 9, 96), "f4"), past_tokens=5),
    ),
    "past_text": (TypeError, "past_tokens of type", given(past_tokens="1")),
    "workspace_small": (ValueError, "workspace", given(workspace=np.zeros(300, "u1"))),
    "workspace_floats": (TypeError, "workspace", given(workspace=np.zeros(1 << 20, "f4"))),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_refused(name):
    error, pattern, arguments = CALLS[name]
    layer = MODELS["mha"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes))
    arguments = dict(arguments)
    x = arguments.pop("x")
    out = arguments.setdefault("out", np.full_like(x, np.nan, subok=False))
    before = np.copy(out)
    refused(error, pattern, layer, x, **arguments)
    assert np.array_equal(out, before, equal_nan=True)


@pytest.mark.parametrize("name", ["out", "cache"])
def test_read_only_outputs(name):
    layer = MODELS["mha"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes))
    x = random_x(BATCH, TOKENS)
    array = np.zeros_like(x) if name == "out" else layer.new_cache(x, TOKENS)
    array.setflags(write=False)
    refused(ValueError, f"{name} is read only", layer, x, **{name: array})


def test_one_pattern_takes_no_mask_per_head():
    layer = MODELS["traditional"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes))
    mask = np.ones((1, HEADS, TOKENS, TOKENS), bool)
    refused(ValueError, "mask has shape", layer, random_x(BATCH, TOKENS), mask)


def test_positions():
    layer = MODELS["deepseek_absorbed"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes))
    x = random_x(BATCH, TOKENS)
    wrong = np.zeros((BATCH, TOKENS + 1), np.int32)
    refused(ValueError, "positions has shape", layer, x, positions=wrong)
    wrong = np.zeros((BATCH, TOKENS), np.int64)
    refused(TypeError, "positions has dtype int64", layer, x, positions=wrong)


@pytest.mark.parametrize("name", ["out", "cache"])
def test_bits_of_bfloat16_beside_bfloat16(name):
    pytest.importorskip("ml_dtypes")
    layer = MODELS["mha"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes, "bfloat16"))
    x = random_x(BATCH, TOKENS, "bfloat16")
    array = np.zeros_like(x) if name == "out" else layer.new_cache(x, TOKENS)
    pattern = "^baselines: .* has dtype uint16"
    refused(TypeError, pattern, layer, x, **{name: array.view(np.uint16)})


def test_sizes_of_a_layer():
    for name, more, pattern in (
        ("mha", dict(num_heads=5), "head_dim = 0 with d_model = 48, num_heads = 5"),
        ("mha", dict(d_model=-1), "d_model = -1"),
        ("mha", dict(scale=float("nan")), "scale = nan"),
        ("traditional", dict(d_latent=-2), "d_latent = -2"),
        ("memory_efficient", dict(chunk_size=-1), "chunk_size = -1"),
        ("deepseek_absorbed", dict(d_rope=7), "d_rope = 7"),
        ("deepseek_absorbed", dict(rope_theta=-1.0), "rope_theta = -1"),
        ("deepseek_absorbed", dict(form="fast"), "form = 'fast'"),
    ):
        refused(ValueError, pattern, MODELS[name].make, baselines, **more)
    refused(TypeError, "d_model of type", MODELS["mha"].make, baselines, d_model="48")


def test_zero_is_no_default():
    """0 stands for "the default" in the C ABI only."""
    for name, arguments in (
        ("mha", ("head_dim", "scale")),
        ("traditional", ("head_dim", "d_latent", "scale")),
        ("memory_efficient", ("head_dim", "d_latent", "chunk_size", "scale")),
        (
            "deepseek_absorbed",
            ("d_latent", "d_nope", "d_rope", "d_v", "rope_theta", "norm_epsilon", "scale"),
        ),
    ):
        for argument in arguments:
            for zero in (0, 0.0, np.float32(0), False):
                pattern = f"{argument} = {zero}, allowed"
                refused(ValueError, pattern, MODELS[name].make, baselines, **{argument: zero})
    refused(ValueError, "d_model = 0", MODELS["mha"].make, baselines, d_model=0)
    refused(ValueError, "num_heads = 0", MODELS["mha"].make, baselines, num_heads=0)
    # DeepSeek's own configurations say 0 where the query has no latent.
    assert (
        "q_proj.weight"
        in MODELS["deepseek_absorbed"].make(baselines, d_q_latent=0).parameter_shapes
    )


def test_a_cache_of_nothing_is_no_call_without_cache():
    layer = MODELS["mha"].make(baselines)
    layer.load_state_dict(random_weights(layer.parameter_shapes))
    x, cache = random_x(BATCH, TOKENS), np.zeros((BATCH, 0, 2 * D_MODEL), "f4")
    pattern = f"capacity = 0, allowed: {TOKENS} or more"
    refused(ValueError, pattern, layer.new_cache, x, 0)
    refused(ValueError, pattern, layer.explain, x, cache=cache)
    refused(ValueError, pattern, layer, x, cache=cache)


@pytest.mark.parametrize("argument", ["scale", "norm_epsilon"])
@pytest.mark.parametrize("value", ["1e-50", "1e+39"])
def test_numbers_outside_float32(argument, value):
    make = MODELS["deepseek_absorbed"].make
    pattern = re.escape(f"{argument} = {value}, allowed: numbers of float32")
    refused(ValueError, pattern, make, baselines, **{argument: float(value)})
    refused(ValueError, f"{argument} = inf", make, baselines, **{argument: float("inf")})
    make(baselines, **{argument: 1e-45})
    make(baselines, **{argument: 3.4e38})


def test_cost_and_supports():
    layer = MODELS["mha"].make(baselines)
    refused(ValueError, "batch = 0", layer.cost, 0, 1)
    refused(ValueError, "past_tokens = 1", layer.cost, 1, 1, past_tokens=1)
    refused(TypeError, "dtype int8", layer.cost, 1, 1, dtype="int8")
    refused(ValueError, 'device = "tpu"', layer.supports, 1, 1, device="tpu")
    far = layer.supports(1, 1, device="cuda:77")
    assert far and not any(answer.supported for answer in far)
    assert all(answer.reason for answer in far)
