"""As much of vLLM's plugin interface as seesaw.vllm touches, written for these tests."""

import enum
import sys
import types

import torch


class Enum(enum.Enum):
    CUSTOM = ""
    FLASHMLA = "flashmla"
    FLASH_ATTN = "flash_attn"
    FLASH_ATTN_MLA = "flash_attn_mla"
    TRITON_MLA = "triton_mla"

    def get_path(self):
        return registered[self]


registered = {}


def register(backend, path):
    registered[backend] = path


class CpuPlatform:
    @classmethod
    def get_attn_backend_cls(cls, selected, config, num_heads=None):
        return "vllm's own"


class Backend:
    supported_dtypes = [torch.float16, torch.bfloat16]


class Metadata:
    pass


class Builder:
    def __class_getitem__(cls, item):
        return cls

    def __init__(self, spec, names, config, device, metadata_cls):
        self.kv_cache_spec, self.device = spec, device
        self.model_config = config.model_config


class Impl:
    def __class_getitem__(cls, item):
        return cls

    def __init__(self, *args, **mla_args):
        self.num_heads, self.head_size, self.scale = args[:3]
        self.kv_cache_dtype = args[6]
        self.supports_quant_query_input = True
        self.kv_b_proj = mla_args["kv_b_proj"]


class Prefill:
    def __init__(self, scale):
        self.scale = scale

    def prepare_metadata(self, metadata):
        self._prefill_metadata = metadata


class Linear:
    def process_weights_after_loading(self, layer):
        layer.weight = None


def install(monkeypatch, is_cpu=True):
    """Puts the modules into sys.modules for one test, without seesaw.vllm's own."""
    import dataclasses

    decode = dataclasses.make_dataclass(
        "MLACommonDecodeMetadata", ["block_table", "seq_lens", "dcp_tot_seq_lens"]
    )
    platform = types.SimpleNamespace(is_cpu=lambda: is_cpu)

    def keep(layer, remove_weight):
        layer.kept = not remove_weight

    contents = {
        "vllm": {},
        "vllm.envs": {"VLLM_BATCH_INVARIANT": False},
        "vllm.platforms": {
            "current_platform": platform,
            "cpu_platform_plugin": lambda: "its own" if is_cpu else None,
        },
        "vllm.platforms.cpu": {"CpuPlatform": CpuPlatform},
        "vllm.v1.attention.backend": {
            "AttentionCGSupport": enum.Enum("AttentionCGSupport", ["UNIFORM_BATCH"]),
            "MultipleOf": lambda n: ("multiple of", n),
        },
        "vllm.v1.attention.backends.registry": {
            "AttentionBackendEnum": Enum,
            "register_backend": register,
        },
        "vllm.v1.attention.backends.mla.prefill": {"__path__": []},
        "vllm.v1.attention.backends.mla.prefill.base": {"MLAPrefillBackend": Prefill},
        "vllm.v1.attention.backends.mla.prefill.registry": {
            "MLAPrefillBackendEnum": Enum,
            "register_mla_prefill_backend": register,
        },
        "vllm.model_executor.layers.attention.mla_attention": {
            "MLACommonBackend": Backend,
            "MLACommonDecodeMetadata": decode,
            "MLACommonImpl": Impl,
            "MLACommonMetadata": Metadata,
            "MLACommonMetadataBuilder": Builder,
            "QueryLenSupport": enum.Enum("QueryLenSupport", ["UNIFORM"]),
        },
        "vllm.model_executor.layers.linear": {"UnquantizedLinearMethod": Linear},
        "vllm.model_executor.layers.utils": {"dispatch_cpu_unquantized_gemm": keep},
    }
    for name in list(contents):
        parts = name.split(".")
        for i in range(1, len(parts)):
            contents.setdefault(".".join(parts[:i]), {})
    registered.clear()
    for name in [n for n in sys.modules if n.startswith("seesaw.vllm")]:
        monkeypatch.delitem(sys.modules, name)
    for name in sorted(contents):
        module = types.ModuleType(name)
        module.__path__ = []
        module.__dict__.update(contents[name])
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return contents
