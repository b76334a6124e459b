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
    FLASHMLA_SPARSE = "flashmla_sparse"
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


class SparseMetadata:
    """Of vLLM 0.32: what sparse backends derive from."""

    def __init__(self, **fields):
        vars(self).update(fields)


class SparseBuilder:
    """Of a step it fills in what the tests' `common` brings."""

    def __class_getitem__(cls, item):
        return cls

    def __init__(self, spec, names, config, device):
        self.kv_cache_spec, self.device = spec, device
        self.model_config, self.topk_tokens = config.model_config, config.model_config.topk

    def _init_reorder_batch_threshold(self, threshold, supports_spec_as_decode):
        self.reorder_batch_threshold = threshold

    def build(self, common_prefix_len, common_attn_metadata, fast_build=False):
        fields = vars(common_attn_metadata)
        return self.metadata_cls(block_size=self.kv_cache_spec.block_size, **fields)

    def build_for_cudagraph_capture(self, common_attn_metadata):
        return self.build(0, common_attn_metadata)


class SparseImpl:
    def __class_getitem__(cls, item):
        return cls

    def __init__(self, num_heads, head_size, scale, *args, topk_indices_buffer, **named):
        self.num_heads, self.scale = num_heads, scale
        self.kv_cache_dtype = named["kv_cache_dtype"]
        self.topk_indices_buffer = topk_indices_buffer
        self.supports_quant_query_input = True


def to_slots(req_id, block_table, token_indices, BLOCK_SIZE=64, NUM_TOPK_TOKENS=2048, **rest):
    """Of vLLM's `triton_convert_req_index_to_global_index`, as its docstring has it."""
    assert token_indices.shape == (req_id.shape[0], NUM_TOPK_TOKENS)
    pages, places = token_indices.clamp(min=0) // BLOCK_SIZE, token_indices % BLOCK_SIZE
    found = block_table[req_id.long()].gather(1, pages.long()) * BLOCK_SIZE + places
    return torch.where(token_indices < 0, -1, found).to(torch.int32)


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


def interleaved(layers, pages, page, columns, dtype):
    """Caches [pages, page, columns] of so many layers, whose pages lie one behind the other: those
    of one number together (cross-layer blocks)."""
    whole = torch.zeros(
        pages, layers, page, columns, dtype=torch.uint8 if dtype.itemsize == 1 else dtype
    )
    return [layer.view(dtype) for layer in whole.unbind(1)]


def install(monkeypatch, is_cpu=True, config=None):
    """Puts the modules into sys.modules for one test, without seesaw.vllm's own. config: vLLM's
    current one."""
    import dataclasses

    decode = dataclasses.make_dataclass(
        "MLACommonDecodeMetadata", ["block_table", "seq_lens", "dcp_tot_seq_lens"]
    )
    platform = types.SimpleNamespace(is_cpu=lambda: is_cpu)

    def keep(layer, remove_weight):
        layer.kept = not remove_weight

    contents = {
        "vllm": {},
        "vllm.config": {"get_current_vllm_config_or_none": lambda: config},
        "vllm.envs": {"VLLM_BATCH_INVARIANT": False},
        "vllm.platforms": {
            "current_platform": platform,
            "cpu_platform_plugin": lambda: "its own" if is_cpu else None,
        },
        "vllm.platforms.cpu": {"CpuPlatform": CpuPlatform},
        "vllm.v1.attention.backend": {
            "AttentionBackend": Backend,
            "AttentionMetadata": Metadata,
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
        "vllm.model_executor.layers.attention.sparse_mla_attention": {
            "SparseMLACommonImpl": SparseImpl,
            "SparseMLACommonMetadataBuilder": SparseBuilder,
            "SparseMLACommonMetadata": SparseMetadata,
        },
        "vllm.v1.attention.backends.mla.sparse_utils": {
            "triton_convert_req_index_to_global_index": to_slots,
        },
        "vllm.model_executor.layers.attention.mla_attention": {
            "MLACommonBackend": Backend,
            "MLACommonDecodeMetadata": decode,
            "MLACommonImpl": Impl,
            "MLACommonMetadata": Metadata,
            "MLACommonMetadataBuilder": Builder,
            "QueryLenSupport": enum.Enum("QueryLenSupport", ["UNIFORM", "VARLEN"]),
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
