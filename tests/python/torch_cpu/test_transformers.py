"""seesaw.transformers against the models of Transformers as they are."""

import copy
import os

import pytest
import seesaw
import torch

if os.environ.get("SEESAW_TEST_TORCH") == "1":
    import transformers
else:
    transformers = pytest.importorskip("transformers", minversion="5.17")
    pytest.importorskip("transformers.masking_utils")

import seesaw.transformers as engine
from transformers.cache_utils import DynamicCache, StaticCache

COMMON = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_shared_experts": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 2,
    "q_lora_rank": 48,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
KIMI = {
    "num_experts": 4,
    "num_experts_per_token": 2,
    "num_shared_experts": 1,
    "q_lora_rank": None,
    "layer_types": ["linear_attention", "full_attention"],
    "mlp_layer_types": ["dense", "dense"],
}
MODELS = {
    "deepseek_v2": ("DeepseekV2", {"q_lora_rank": None}),
    "deepseek_v3": ("DeepseekV3", {"rope_parameters": YARN}),
    "glm4_moe_lite": ("Glm4MoeLite", {"qk_nope_head_dim": 192, "v_head_dim": 256}),
    "kimi_linear": ("KimiLinear", KIMI),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small matrices: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_model(model_type="deepseek_v3", dtype=torch.float32, **changes):
    name, own = MODELS[model_type]
    if not hasattr(transformers, f"{name}Config"):
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**COMMON, **own, **changes})
    return getattr(transformers, f"{name}ForCausalLM")(config).eval().to(dtype)


def cache_of(outputs):
    found = getattr(outputs, "cache", None)
    return found if found is not None else outputs.past_key_values


def with_cache(model, cache, **inputs):
    name = engine._install._cache_name(model.get_decoder())
    return model(**{name: cache}, **inputs)


def tokens_of(batch, n):
    return torch.randint(2, COMMON["vocab_size"], (batch, n))


@torch.no_grad()
def in_pieces(model, ids, pieces, mask=None, cache=None):
    """Logits [b, n, vocabulary] of a prompt and what follows, piece by piece."""
    logits, done = [], 0
    cache = DynamicCache(config=model.config) if cache is None else cache
    for s in pieces:
        here = {} if mask is None else {"attention_mask": mask[:, : done + s]}
        if mask is not None:
            here["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, done : done + s]
        logits.append(with_cache(model, cache, input_ids=ids[:, done : done + s], **here).logits)
        done += s
    return torch.cat(logits, 1)


def decode_runs():
    return sum(row.calls["run"]["ok"] for row in seesaw.stats() if "dense_decode" in row.kernel)


def generate(model, ids, **options):
    options = {"max_new_tokens": 10, "do_sample": False, "eos_token_id": None, **options}
    return model.generate(ids, pad_token_id=0, **options)


@pytest.mark.parametrize("model_type", MODELS)
def test_logits_are_the_originals(model_type):
    """A prompt, then 1 to 8 tokens at once, plain and with padding on either side."""
    pieces = [12, *range(1, 9)]
    if model_type == "kimi_linear":  # its linear layers take one token or a prompt
        pieces = [12, 1, 1, 1]
    model = make_model(model_type)
    ids = tokens_of(3, sum(pieces))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    mask[1, 9:12] = 0
    masks = [None, mask]
    original = [in_pieces(model, ids, pieces, m) for m in masks]
    assert engine.install(model) is model
    before = decode_runs()
    for m, wanted in zip(masks, original):
        found = in_pieces(model, ids, pieces, m)
        real = torch.ones_like(ids, dtype=torch.bool) if m is None else m.bool()
        error = (found - wanted)[real].abs().max()
        assert error < 3e-5 * wanted[real].abs().max()
        assert found.isfinite().all()
    layers = 1 if model_type == "kimi_linear" else COMMON["num_hidden_layers"]
    assert decode_runs() == before + 2 * layers * (len(pieces) - 1)


@pytest.mark.parametrize("model_type", MODELS)
def test_generate_gives_the_same_tokens(model_type):
    model = make_model(model_type)
    ids, mask = tokens_of(2, 20), torch.ones(2, 20, dtype=torch.long)
    mask[0, :6] = 0
    asked = [{}, {"attention_mask": mask}]
    if model_type != "kimi_linear":
        asked += [{"num_beams": 3, "attention_mask": mask}]
    wanted = [generate(model, ids, **options) for options in asked]
    engine.install(model)
    before = decode_runs()
    for options, tokens in zip(asked, wanted):
        assert torch.equal(generate(model, ids, **options), tokens), options
    assert decode_runs() > before
    engine.uninstall(model)
    before = decode_runs()
    assert torch.equal(generate(model, ids), wanted[0]) and decode_runs() == before


def test_assisted_decoding_takes_tokens_back():
    model = make_model()
    ids = tokens_of(1, 12).repeat(1, 2)  # so that looking up the prompt proposes something
    wanted = generate(model, ids, max_new_tokens=20)
    engine.install(model)
    found = generate(model, ids, max_new_tokens=20, prompt_lookup_num_tokens=3)
    assert torch.equal(found, wanted)


def test_bfloat16_is_no_further_from_exact_than_the_original():
    model = make_model(dtype=torch.bfloat16)
    exact = copy.deepcopy(model).float()
    ids, pieces = tokens_of(2, 40), [24, *[1] * 8, 8]
    wanted, original = in_pieces(exact, ids, pieces), in_pieces(model, ids, pieces)
    found = in_pieces(engine.install(model), ids, pieces)
    assert (found - wanted).abs().max() < 1.5 * (original - wanted).abs().max()


FORMATS = [
    (known.name, known.d_latent)
    for known in seesaw.formats().values()
    if known.d_rope and known.d_latent in (448, 512)
]


@pytest.mark.parametrize("kv_format,d_latent", [*FORMATS, ("bfloat16", 512), ("float16", 512)])
def test_every_cache_format_is_right_about_the_numbers_that_it_holds(kv_format, d_latent):
    """The original model, its cached latents replaced by what the format keeps of them."""
    model = make_model(kv_lora_rank=d_latent, num_hidden_layers=1)
    original = copy.deepcopy(model)
    engine.install(model, kv_format=kv_format)
    ids, pieces = tokens_of(2, 20), [16, 4]
    paged = DynamicCache(config=model.config)
    found = in_pieces(model, ids, pieces, cache=paged)[:, 16:]

    class Stored(DynamicCache):
        """What the pages hold, in place of what the model computed."""

        def update(self, latent, rope, *args, **kwargs):
            latent, rope = super().update(latent, rope, *args, **kwargs)
            kept = paged.layers[0].pages.rows(latent.shape[2])
            return kept[0][:, None], kept[1][:, None]

    wanted = in_pieces(original, ids, pieces, cache=Stored(config=model.config))[:, 16:]
    assert (found - wanted).abs().max() < 3e-5 * wanted.abs().max()
    exact = in_pieces(original, ids, pieces)[:, 16:]
    error = (found - exact).norm() / exact.norm()
    bound = {"fp4_288": 0.4, "int8_644": 0.03, "bfloat16": 0.01, "float16": 1e-3}
    assert 1e-6 < error < bound.get(kv_format, 0.1)


def test_a_paged_cache_of_ones_own():
    model = engine.install(make_model())
    ids = tokens_of(2, 20)
    wanted = generate(model, ids)
    cache = engine.PagedLatentCache(model, kv_format="float32", capacity=100, page_size=32)
    outputs = with_cache(model, cache, input_ids=ids)
    assert cache_of(outputs) is cache and cache.get_seq_length() == 20
    pages = cache.layers[1].pages
    assert pages.capacity == 128 and pages.kv_format == "float32" and len(cache) == 2
    name = engine._install._cache_name(model.get_decoder())
    fresh = engine.PagedLatentCache(model, capacity=100)
    assert torch.equal(generate(model, ids, **{name: fresh}), wanted)
    fresh.reset()
    assert fresh.get_seq_length() == 0
    assert torch.equal(generate(model, ids, **{name: fresh}), wanted)


def test_a_prompt_in_chunks_and_custom_masks():
    model = make_model()
    ids = tokens_of(2, 600)
    wanted = in_pieces(model, ids[:, :320], [30, 290])
    seen = torch.ones(24, 24, dtype=torch.bool).tril()
    seen[20, 3] = False
    shape = {"input_ids": ids[:, :24], "attention_mask": seen[None, None].expand(2, 1, -1, -1)}
    with torch.no_grad():
        masked = model(**shape).logits
        engine.install(model)
        assert (model(**shape).logits - masked).abs().max() < 3e-5 * masked.abs().max()
    before = decode_runs()
    found = in_pieces(model, ids[:, :320], [30, 290])
    assert (found - wanted).abs().max() < 3e-5 * wanted.abs().max() and decode_runs() == before


def test_training_goes_through_the_original_equations():
    model = make_model()
    ids = tokens_of(2, 9)
    model(input_ids=ids, labels=ids).loss.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    engine.install(model)(input_ids=ids, labels=ids).loss.backward()
    for name, parameter in model.named_parameters():
        if name in wanted:
            error = (parameter.grad - wanted[name]).abs().max()
            assert error <= 1e-4 * wanted[name].abs().max(), name


def test_refusals():
    model = engine.install(make_model(num_hidden_layers=1))
    ids, mask = tokens_of(2, 6), torch.ones(2, 6, dtype=torch.long)
    mask[0, :2] = 0
    with torch.no_grad():
        with pytest.raises(ValueError, match="a StaticCache with layers of StaticLayer, allowed"):
            with_cache(model, StaticCache(config=model.config, max_cache_len=9), input_ids=ids)
        filled = DynamicCache(config=model.config)
        filled.update(torch.zeros(2, 1, 3, 512), torch.zeros(2, 1, 3, 64), 0)
        with pytest.raises(ValueError, match="3 tokens that were cached without Seesaw"):
            with_cache(model, filled, input_ids=ids)
        cache = DynamicCache(config=model.config)
        with_cache(model, cache, input_ids=ids, attention_mask=mask)
        with pytest.raises(ValueError, match="no attention_mask for 6 . 1 tokens"):
            with_cache(model, cache, input_ids=ids[:, :1])
        with pytest.raises(ValueError, match="a batch of 1 for a cache of 2 sequences"):
            with_cache(model, cache, input_ids=ids[:1], attention_mask=mask[:1])
    with pytest.raises(ValueError, match="kv_format = 'fp7', allowed"):
        engine.install(make_model(), kv_format="fp7")
    config = transformers.LlamaConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8
    )
    with pytest.raises(ValueError, match="type 'llama', allowed: deepseek_v2, "):
        engine.install(transformers.LlamaForCausalLM(config))


def test_what_is_supported_is_tested():
    assert set(engine.SUPPORTED) == set(MODELS)
