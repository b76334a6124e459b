"""Writes fixture/: a small checkpoint as published ones are, in two files with an index, and what
seesaw.layers.DeepSeekMLA makes of it, for tests/layers/layer_test.cpp.

    python tests/layers/make_fixture.py        # with seesaw, torch and safetensors

x: [2, 12, d_model]. float32, fp8_656: outputs with such a cache, of a prompt of 7 tokens, one token
and 4 tokens.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from seesaw.layers import DeepSeekMLA

FOLDER = Path(__file__).parent / "fixture"
CONFIG = {
    "hidden_size": 8,
    "num_attention_heads": 2,
    "q_lora_rank": 6,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 64,
    "v_head_dim": 4,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.7,
        "mscale_all_dim": 0.9,
    },
}
PREFIX = "model.layers.3.self_attn."


def main():
    torch.manual_seed(17)
    model = DeepSeekMLA(CONFIG, dtype=torch.bfloat16).requires_grad_(False)
    for name, parameter in model.named_parameters():
        around, size = (1.0, 0.2) if "norm" in name else (0.0, parameter.shape[-1] ** -0.5)
        parameter.copy_(around + size * torch.randn(parameter.shape))
    tensors = {PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    checkpoint = FOLDER / "checkpoint"
    checkpoint.mkdir(parents=True, exist_ok=True)
    where = {name: files["kv" in name] for name in tensors}
    for file in files:
        save_file({n: t for n, t in tensors.items() if where[n] == file}, checkpoint / file)
    index = json.dumps({"metadata": {}, "weight_map": where}, indent=1)
    (checkpoint / "model.safetensors.index.json").write_text(index + "\n")
    (checkpoint / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")

    layer = DeepSeekMLA.from_checkpoint(checkpoint, 3, dtype=torch.float32).requires_grad_(False)
    x = torch.randn(2, 12, CONFIG["hidden_size"])
    found = {"x": x}
    for kv_format in ("float32", "fp8_656"):
        cache = layer.new_cache(2, 12, kv_format=kv_format, page_size=16)
        parts = [
            layer(x[:, begin:end], cache=cache, past_tokens=begin)
            for begin, end in ((0, 7), (7, 8), (8, 12))
        ]
        found[kv_format] = torch.cat(parts, 1)
    save_file(found, FOLDER / "expected.safetensors")


if __name__ == "__main__":
    main()
