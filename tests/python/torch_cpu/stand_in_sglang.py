"""Stand-ins for what seesaw.sglang uses of SGLang."""

import importlib
import sys
import types

import torch

D_QK = 576


class Base:
    """AttentionBackend: nothing of it is used."""


class Mode:
    def __init__(self, name):
        self.name = name

    def is_decode_or_idle(self):
        return self.name in ("decode", "idle")

    def is_target_verify(self):
        return self.name == "verify"


class Pool:
    """One buffer a layer, [slots, 1, 576]."""

    def __init__(self, slots, dtype):
        self.buffers = [torch.full((slots, 1, D_QK), torch.nan).to(dtype) for _ in range(2)]

    def set_kv_buffer(self, layer, slots, k, v):
        buffer = self.buffers[layer.layer_id]
        buffer[slots] = k.view(-1, 1, D_QK).to(buffer.dtype)

    def set_mla_kv_buffer(self, layer, slots, k, k_rope):
        self.set_kv_buffer(layer, slots, torch.cat((k, k_rope), -1), None)

    def get_key_buffer(self, layer_id):
        return self.buffers[layer_id]


class Prefill:
    def __init__(self, runner):
        self.called = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.called.append(name)


class Sparse(Base):
    """DeepseekSparseAttnBackend, as much of it as is used."""

    def __init__(self, runner):
        self.dsa_decode_impl = runner.server_args.dsa_decode_backend

    def forward_decode(self, *args, **named):
        return getattr(self, f"_forward_{self.dsa_decode_impl}")(*args, **named)


def install(monkeypatch):
    """Puts the stand-ins in place of the modules; returns the plugin's."""
    registry = {"triton": Prefill, "flashmla": Prefill, "dsa": Sparse}
    choices = ["triton", "flashmla"]
    contents = {
        "sglang.srt.layers.attention.base_attn_backend": {"AttentionBackend": Base},
        "sglang.srt.layers.attention.attention_registry": {"ATTENTION_BACKENDS": registry},
        "sglang.srt.layers.attention.dsa_backend": {"DeepseekSparseAttnBackend": Sparse},
        "sglang.srt.server_args": {
            "ATTENTION_BACKEND_CHOICES": choices,
            "add_attention_backend_choices": choices.extend,
        },
    }
    names = {".".join(n.split(".")[:i]) for n in contents for i in range(1, n.count(".") + 2)}
    for name in [n for n in sys.modules if n.startswith("seesaw.sglang")]:
        monkeypatch.delitem(sys.modules, name)
    for name in sorted(names):
        module = types.ModuleType(name)
        module.__path__ = []
        module.__dict__.update(contents.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    return types.SimpleNamespace(
        plugin=importlib.import_module("seesaw.sglang"),
        backend=importlib.import_module("seesaw.sglang.backend"),
        registry=registry,
        choices=choices,
        sparse=lambda: importlib.import_module("seesaw.sglang.sparse"),
    )
