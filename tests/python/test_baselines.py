"""seesaw.baselines on NumPy arrays, against float64 NumPy."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from baselines_reference import (
    D_MODEL,
    HEADS,
    MODELS,
    assert_near,
    causal,
    expected,
    import_baselines,
    random_weights,
    random_x,
    threads_after,
)

baselines = import_baselines()

BATCH, TOKENS = 2, 11
DTYPES = ["float32", "float16"] + ["bfloat16"] * (util.find_spec("ml_dtypes") is not None)


def loaded(name, dtype="float32", **more):
    """A layer with random parameters, and these."""
    layer = MODELS[name].make(baselines, **more)
    weights = random_weights(layer.parameter_shapes, dtype)
    return layer.load_state_dict(weights), weights


def some_mask(name, batch=BATCH, tokens=TOKENS):
    """[batch, 1 or H, N, S]; the second query of the first sequence sees nothing."""
    heads = 1 if MODELS[name].one_pattern else HEADS
    mask = np.random.default_rng(2).random((batch, heads, tokens, tokens)) < 0.6
    mask[0, :, 1] = False
    return mask


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_float64(name, dtype):
    layer, weights = loaded(name, dtype)
    x = random_x(BATCH, TOKENS, dtype)
    assert_near(layer(x), expected(MODELS[name], weights, x), dtype)
    want = expected(MODELS[name], weights, x, causal(TOKENS))
    assert_near(layer(x, causal=True), want, dtype)


@pytest.mark.parametrize("name", MODELS)
def test_without_and_with_bias(name):
    sizes = []
    for bias in (False, True):
        layer, weights = loaded(name, bias=bias)
        sizes.append(len(weights))
        x = random_x(BATCH, TOKENS)
        assert_near(layer(x), expected(MODELS[name], weights, x))
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", MODELS)
def test_masks_of_every_shape_and_type(name):
    layer, weights = loaded(name)
    x = random_x(BATCH, TOKENS)
    mask = some_mask(name)
    for given in (mask, mask[:1], mask[:, :1], mask[:, 0], mask[0, 0]):
        visible = given if given.ndim == 4 else given[..., None, :, :]
        visible = visible if visible.ndim == 4 else visible[None]
        want = expected(MODELS[name], weights, x, visible)
        assert_near(layer(x, given), want)
        assert_near(layer(x, mask=given.astype(np.uint8)), want)
        strided = np.repeat(given, 2, axis=-1)[..., ::2]
        assert_near(layer(x, strided), want)
    want = expected(MODELS[name], weights, x, mask & causal(TOKENS))
    assert_near(layer(x, mask, causal=True), want)


@pytest.mark.parametrize("name", MODELS)
def test_a_query_that_sees_nothing_gets_the_biases_alone(name):
    layer, weights = loaded(name, bias=False)
    mask = some_mask(name)
    out = layer(random_x(BATCH, TOKENS), mask)
    assert (out[0, 1] == 0).all() and not (out[0, 2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("q_latent", ["", "_q_latent"])
def test_expanded_and_absorbed_agree(dtype, q_latent):
    expanded, weights = loaded(f"deepseek_expanded{q_latent}", dtype)
    absorbed = MODELS[f"deepseek_absorbed{q_latent}"].make(baselines)
    absorbed.load_state_dict(expanded.state_dict())
    x = random_x(BATCH, TOKENS, dtype)
    caches = [layer.new_cache(x, TOKENS) for layer in (expanded, absorbed)]
    out = expanded(x, causal=True, cache=caches[0])
    assert_near(absorbed(x, causal=True, cache=caches[1]), out.astype(np.float64), dtype)
    assert (caches[0] == caches[1]).all()


@pytest.mark.parametrize("chunk_size", [1, 3, 11, 1024])
@pytest.mark.parametrize("skip_unused", [False, True])
def test_chunks_do_not_change_the_result(chunk_size, skip_unused):
    layer, weights = loaded("memory_efficient", chunk_size=chunk_size, skip_unused=skip_unused)
    x, mask = random_x(BATCH, TOKENS), some_mask("memory_efficient")
    want = expected(MODELS["memory_efficient"], weights, x, mask & causal(TOKENS))
    assert_near(layer(x, mask, causal=True), want)


@pytest.mark.parametrize("capacity", [TOKENS, 100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_decoding_with_a_cache_gives_what_one_call_gives(name, dtype, capacity):
    layer, weights = loaded(name, dtype)
    x = random_x(BATCH, TOKENS, dtype)
    cache = layer.new_cache(x, capacity)
    cache[:] = np.nan  # what has not been written must not be read
    steps, past = [], 0
    for tokens in (5, 1, 1, 4):
        piece = np.ascontiguousarray(x[:, past : past + tokens])
        steps.append(layer(piece, causal=True, cache=cache, past_tokens=past))
        past += tokens
    want = expected(MODELS[name], weights, x, causal(TOKENS))
    assert_near(np.concatenate(steps, axis=1), want, dtype)
    assert np.isnan(cache[:, TOKENS:].astype(np.float32)).all()


@pytest.mark.parametrize("form", ["expanded", "absorbed"])
def test_positions(form):
    name = f"deepseek_{form}"
    layer, weights = loaded(name)
    x = random_x(BATCH, TOKENS)
    positions = np.random.default_rng(3).integers(0, 5000, (BATCH, TOKENS)).astype(np.int32)
    want = expected(MODELS[name], weights, x, causal(TOKENS), positions)
    assert_near(layer(x, causal=True, positions=positions), want)
    # Only differences of positions count.
    assert_near(layer(x, causal=True, positions=positions + 7), want)


@pytest.mark.parametrize("name", MODELS)
def test_scale(name):
    layer, weights = loaded(name, scale=0.3)
    x = random_x(BATCH, TOKENS)
    assert_near(layer(x), expected(MODELS[name], weights, x, scale=0.3))


@pytest.mark.parametrize("name", MODELS)
def test_buffers_of_the_caller_and_the_same_bits(name):
    layer, _ = loaded(name, num_threads=2)
    x = random_x(BATCH, TOKENS)
    first = layer(x, causal=True)
    out = np.full_like(x, np.nan)
    workspace = np.full(layer.workspace_size(x, causal=True), 0xFF, np.uint8)
    assert layer(x, causal=True, out=out, workspace=workspace) is out
    assert (out == first).all()
    with ThreadPoolExecutor(2) as pool:
        for other in pool.map(lambda _: layer(x, causal=True), range(4)):
            assert (other == first).all()


@pytest.mark.parametrize("name", MODELS)
def test_as_many_threads_as_there_are(name):
    layer, weights = loaded(name, num_threads=0)
    x = random_x(BATCH, TOKENS)
    assert_near(layer(x), expected(MODELS[name], weights, x))


def test_calls_follow_the_number_of_threads():
    """A plan of one number of threads does not serve calls of another."""
    module = Path(baselines.__file__).parent.parent / "seesaw_baselines_ffi.so"
    set_threads = ctypes.CDLL(str(module)).omp_set_num_threads  # of the OpenMP that it is linked to
    layer, _ = loaded("mha", num_threads=0)
    x = random_x(8, 64)
    assert threads_after(set_threads, lambda: layer(x)) == [0, 2, 4]


def test_read_only_inputs():
    layer, _ = loaded("mha")
    x = random_x(BATCH, TOKENS)
    want = layer(x)
    x.setflags(write=False)
    assert (layer(x) == want).all()


def test_state_dict_of_a_whole_model():
    layer, weights = loaded("deepseek_absorbed")
    x = random_x(1, TOKENS)
    want = layer(x)
    prefix = "model.layers.3.self_attn."
    whole = {**layer.state_dict(prefix), "model.embed_tokens.weight": np.zeros(3)}
    other = MODELS["deepseek_absorbed"].make(baselines).load_state_dict(whole, prefix)
    assert (other(x) == want).all()
    whole[prefix + "rotary_emb.inv_freq"] = np.zeros(3)
    with pytest.raises(ValueError, match="rotary_emb.inv_freq"):
        other.load_state_dict(whole, prefix)
    assert (other.load_state_dict(whole, prefix, strict=False)(x) == want).all()


def test_parameters_are_kept_not_copied():
    layer, weights = loaded("mha")
    x = random_x(BATCH, TOKENS)
    before = layer(x)
    weights["out_proj.weight"] *= 2
    weights["out_proj.bias"] *= 2
    assert_near(layer(x), 2 * before.astype(np.float64))


@pytest.mark.parametrize("name", MODELS)
def test_cost_counts_what_a_call_does(name):
    layer, weights = loaded(name, bias=False)
    cost = layer.cost(batch=3, tokens=7)
    assert cost.parameter_count == sum(array.size for array in weights.values())
    assert cost.weight_bytes == sum(array.nbytes for array in weights.values())
    cache = layer.new_cache(random_x(1, 7), 7)
    assert cost.cache_bytes_per_token == cache.shape[2] * 4
    assert layer.cost(6, 7).attention_operations == 2 * cost.attention_operations
    later = layer.cost(3, 7, past_tokens=7, cache_capacity=14)
    assert later.attention_operations == 2 * cost.attention_operations


def test_cost_of_multi_head_attention():
    cost = loaded("mha", bias=False)[0].cost(batch=3, tokens=7, dtype="bfloat16")
    assert cost.projection_operations == 4 * 2 * (3 * 7) * D_MODEL * D_MODEL
    assert cost.attention_operations == 2 * 2 * 3 * 7 * 7 * D_MODEL


def test_cost_beyond_63_bits():
    layer = baselines.DeepSeekMLA(d_model=7168, num_heads=128, form="expanded")
    cost = layer.cost(batch=256, tokens=2**20)
    assert cost.attention_operations == 2 * 256 * 128 * 2**40 * (192 + 128) > 2**63


def test_explain_and_supports():
    layer, _ = loaded("mha")
    x = random_x(BATCH, TOKENS)
    plan = layer.explain(x)
    assert plan.backend == "cpu.onednn" and plan.num_products >= 6
    assert plan.cache_width == 2 * D_MODEL and plan.converted_products == 0
    assert plan.workspace_elements == layer.workspace_size(x)
    answers = {answer.kernel: answer for answer in layer.supports(BATCH, TOKENS)}
    assert answers["cpu.onednn"].supported
    assert not answers["cuda.cublaslt"].supported and answers["cuda.cublaslt"].reason
