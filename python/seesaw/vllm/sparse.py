"""vLLM's three classes of a sparse attention backend: every query token attends the tokens that the
model's indexer chose for it (DeepSeek-V3.2, GLM-5), by `seesaw.sparse_decode`.

A query token is a sequence of its own here, so that prompts, verification of draft tokens and
decoding, of any lengths, are one call; heads are as many as the model has, without padding.
"""

from __future__ import annotations

from typing import Any, ClassVar, Dict, List, Optional, Tuple, Union

import torch
import vllm.envs as envs
from vllm.config import get_current_vllm_config_or_none
from vllm.model_executor.layers.attention import sparse_mla_attention
from vllm.model_executor.layers.attention.sparse_mla_attention import (
    SparseMLACommonImpl,
    SparseMLACommonMetadataBuilder,
)
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionMetadata,
    MultipleOf,
)
from vllm.v1.attention.backends.mla.sparse_utils import triton_convert_req_index_to_global_index

import seesaw
from seesaw._fields import dtype_name
from seesaw._tables import SparseDecodeProblem
from seesaw.vllm._common import (
    D_QK,
    D_ROPE,
    D_V,
    FP8,
    FP8_PACKED,
    Answers,
    WritesCache,
    kv_format_of,
    parts_of,
    refuse_extras,
    strides_of_cache,
    why_not,
)

_TOPK = 2048
"""Tokens that the published models' indexers choose."""


class SeesawSparseMLABackend(Answers, AttentionBackend):
    """What vLLM asks before it takes the backend."""

    supported_dtypes: ClassVar[List[torch.dtype]] = [torch.float16, torch.bfloat16]
    supported_kv_cache_dtypes: ClassVar[List[str]] = [
        "auto", "float16", "bfloat16", *FP8, FP8_PACKED
    ]  # fmt: skip

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec: Any = None) -> List[Any]:
        return [MultipleOf(16)]

    @staticmethod
    def get_builder_cls() -> type:
        return SeesawSparseMLAMetadataBuilder

    @staticmethod
    def get_impl_cls() -> type:
        return SeesawSparseMLAImpl

    @staticmethod
    def get_kv_cache_shape(
        num_blocks: int,
        block_size: int,
        num_kv_heads: int,
        head_size: int,
        cache_dtype_str: str = "auto",
    ) -> Tuple[int, ...]:
        """[pages, tokens, columns or bytes]. (Asked by vLLM 0.26; later ones know it.)"""
        packed = seesaw.formats()["fp8_656"].row_bytes
        return (num_blocks, block_size, packed if cache_dtype_str == FP8_PACKED else head_size)

    @classmethod
    def is_mla(cls) -> bool:
        return True

    @classmethod
    def is_sparse(cls) -> bool:
        return True

    @classmethod
    def supports_combination(
        cls,
        head_size: int,
        dtype: torch.dtype,
        kv_cache_dtype: Optional[str],
        block_size: Optional[int],
        use_mla: bool,
        has_sink: bool,
        use_sparse: bool,
        use_mm_prefix: bool,
        device_capability: Any,
        **rest: Any,
    ) -> Optional[str]:
        """Why no kernel of this build attends such a model here, in the library's words."""
        if not use_mla or not use_sparse or head_size != D_QK or dtype not in cls.supported_dtypes:
            return None  # vLLM gives the reason itself
        config = get_current_vllm_config_or_none()
        parallel = getattr(config, "parallel_config", None)
        if getattr(parallel, "decode_context_parallel_size", 1) > 1:
            return "seesaw: sparse attention under decode context parallelism, allowed: without it"
        if getattr(getattr(config, "attention_config", None), "hisparse_config", None) is not None:
            return "seesaw: a cache in host memory (HiSparse), allowed: one on the device"
        problem = SparseDecodeProblem(
            batch=1,
            h_q=16,
            topk=_TOPK,
            page_size=block_size or 64,
            q_dtype=dtype_name(dtype),  # type: ignore[arg-type]
            kv_format=kv_format_of(kv_cache_dtype or "auto", dtype),
            d_rope=D_ROPE,
        )
        return why_not(problem, device_capability)


class _Fields(AttentionMetadata):  # type: ignore[misc]
    """A step in vLLM 0.26, where each backend has a class of its own for what the common builder
    fills in."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


_Step: Any = getattr(sparse_mla_attention, "SparseMLACommonMetadata", _Fields)


class SeesawSparseMLAMetadata(_Step):  # type: ignore[misc]
    """schedules: By the number of query tokens, for every layer of the step."""

    schedules: Optional[Dict[int, Any]] = None


class SeesawSparseMLAMetadataBuilder(SparseMLACommonMetadataBuilder[SeesawSparseMLAMetadata]):
    """Makes a step's schedules. They depend on the number of query tokens alone; those that a CUDA
    graph is captured with are kept."""

    _cudagraph_support: ClassVar[Any] = AttentionCGSupport.UNIFORM_BATCH
    metadata_cls = SeesawSparseMLAMetadata

    def __init__(
        self, kv_cache_spec: Any, layer_names: List[str], vllm_config: Any, device: torch.device
    ) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        # Which tokens count as decoding matters to vLLM alone: they are all attended in one way.
        self._init_reorder_batch_threshold(128, supports_spec_as_decode=True)
        self._kept: Dict[int, Any] = {}
        self._captures = False
        self._vllm_config, self._layer_names = vllm_config, layer_names
        self._format = kv_format_of(vllm_config.cache_config.cache_dtype, self.model_config.dtype)
        self._heads = self.model_config.get_num_attention_heads(vllm_config.parallel_config)

    def build(
        self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False
    ) -> Any:
        step = super().build(common_prefix_len, common_attn_metadata, fast_build)
        # With prompts vLLM attends either all tokens so, or all but the prompts'.
        counts = {step.num_decode_tokens, step.num_actual_tokens} - {0}
        step.schedules = {tokens: self._schedule(tokens) for tokens in counts}
        return step

    def build_for_cudagraph_capture(self, common_attn_metadata: Any) -> Any:
        self._captures = True
        try:
            return super().build_for_cudagraph_capture(common_attn_metadata)
        finally:
            self._captures = False

    def _schedule(self, tokens: int) -> Any:
        if tokens in self._kept:
            return self._kept[tokens]
        problem = SparseDecodeProblem(
            batch=tokens,
            h_q=self._heads,
            topk=self.topk_tokens,
            page_size=self.kv_cache_spec.block_size,
            q_dtype=dtype_name(self.model_config.dtype),  # type: ignore[arg-type]
            kv_format=self._format,
            d_qk=D_QK,
            d_v=D_V,
            d_rope=D_ROPE,
            **strides_of_cache(self._vllm_config, self._layer_names),
        )
        like = torch.empty(tokens, 1, self.topk_tokens, dtype=torch.int32, device=self.device)
        invariant = bool(envs.VLLM_BATCH_INVARIANT)
        made = seesaw.make_schedule(problem, like, batch_invariant=invariant)
        if self._captures:
            self._kept[tokens] = made
        return made


class SeesawSparseMLAImpl(WritesCache, SparseMLACommonImpl[SeesawSparseMLAMetadata]):
    """One layer. vLLM's indexer chooses tokens, vLLM projects, absorbs and un-absorbs; this writes
    the cache and attends it."""

    def __init__(self, *args: Any, **named: Any) -> None:
        refuse_extras(args, named)
        super().__init__(*args, **named)
        # A query in the model's dtype also over an FP8 cache.
        self.supports_quant_query_input = False

    def forward_mqa(
        self,
        q: Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]],
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: Any,
        layer: Any,
    ) -> Tuple[torch.Tensor, Optional[torch.Tensor]]:
        """Attends absorbed queries [t, h, 576], or (q_latent [t, h, 512], q_rope [t, h, 64]), by
        the layer's lists in `topk_indices_buffer` [at least t, topk] int32: a sequence's tokens by
        number, -1 for none.

        Returns:
            (out [t, h, 512], None)
        """
        q_latent, q_rotary = parts_of(q)
        tokens = q_latent.shape[0]
        chosen = self.topk_indices_buffer[:tokens]
        slots = triton_convert_req_index_to_global_index(
            attn_metadata.req_id_per_token[:tokens],
            attn_metadata.block_table,
            chosen,
            BLOCK_SIZE=attn_metadata.block_size,
            NUM_TOPK_TOKENS=chosen.shape[1],
        )
        out, _ = seesaw.sparse_decode(
            q_latent[:, None],
            kv_c_and_k_pe_cache,
            slots[:, None],
            scale=self.scale,
            q_rotary=q_rotary[:, None],
            kv_scale=layer._k_scale if self.kv_cache_dtype in FP8 else None,
            **self._how(attn_metadata, tokens),
        )
        return out[:, 0], None

    def _how(self, attn_metadata: Any, tokens: int) -> Dict[str, Any]:
        """The step's schedule; where vLLM has split a batch since, what one is made of."""
        schedule = (attn_metadata.schedules or {}).get(tokens)
        if schedule is not None:
            return {"schedule": schedule}
        packed = self.kv_cache_dtype in (*FP8, FP8_PACKED)
        kv_format = kv_format_of(self.kv_cache_dtype, torch.uint8) if packed else None
        return {"kv_format": kv_format, "batch_invariant": bool(envs.VLLM_BATCH_INVARIANT)}
