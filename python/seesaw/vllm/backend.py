"""vLLM's three classes of an attention backend: what it is, a step, a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Tuple, Union

import torch
import vllm.envs as envs
from vllm.model_executor.layers.attention.mla_attention import (
    MLACommonBackend,
    MLACommonDecodeMetadata,
    MLACommonImpl,
    MLACommonMetadata,
    MLACommonMetadataBuilder,
    QueryLenSupport,
)
from vllm.v1.attention.backend import AttentionCGSupport, MultipleOf

import seesaw
from seesaw._fields import dtype_name
from seesaw._tables import DenseDecodeProblem
from seesaw.compat.vllm_ops import concat_and_cache_mla

_FP8 = ("fp8", "fp8_e4m3")
_D_QK, _D_V = 576, 512
_OLDEST = 8
"""Major compute capability from which on a kernel of this library decodes."""


class SeesawMLABackend(MLACommonBackend):
    """What vLLM asks before it takes the backend."""

    supported_dtypes: ClassVar[List[torch.dtype]] = [torch.float16, torch.bfloat16, torch.float32]
    supported_kv_cache_dtypes: ClassVar[List[str]] = ["auto", "float16", "bfloat16", *_FP8]

    @staticmethod
    def get_name() -> str:
        return "CUSTOM"

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec: Any = None) -> List[Any]:
        # Every kernel takes these, and the CPU's and the portable one any other.
        return [MultipleOf(16)]

    @staticmethod
    def get_builder_cls() -> type:
        return SeesawMLAMetadataBuilder

    @staticmethod
    def get_impl_cls() -> type:
        return SeesawMLAImpl

    @classmethod
    def get_supported_head_sizes(cls) -> List[int]:
        return [_D_QK]

    @classmethod
    def supports_compute_capability(cls, capability: Any) -> bool:
        return capability is None or capability.major >= _OLDEST

    @classmethod
    def supports_batch_invariance(cls) -> bool:
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
        """Why no kernel of this build decodes such a model here, in the library's words."""
        if not use_mla or use_sparse or head_size != _D_QK or dtype not in cls.supported_dtypes:
            return None  # vLLM gives the reason itself
        problem = DenseDecodeProblem(
            batch=1,
            h_q=16,
            max_pages_per_sequence=1,
            page_size=block_size or 64,
            q_dtype=dtype_name(dtype),  # type: ignore[arg-type]
            kv_format=_format_of(kv_cache_dtype or "auto", dtype),
            causal=True,
        )
        try:
            device = "cpu" if device_capability is None else "cuda"
            answers = seesaw.supports(problem, device=device)
        except (ValueError, RuntimeError) as error:
            return f"seesaw: {error}"
        if any(answer.supported for answer in answers):
            return None
        return "seesaw: " + "; ".join(f"{answer.kernel}: {answer.reason}" for answer in answers)


@dataclass
class SeesawDecodeMetadata(MLACommonDecodeMetadata):
    """schedule: Of this step, for every layer."""

    schedule: Any = None


class SeesawMLAMetadataBuilder(MLACommonMetadataBuilder[MLACommonMetadata]):
    """Makes a schedule a step. Buffers of schedules stay where they are, one for each shape, so
    that a CUDA graph that was captured with one reads what later steps write to it."""

    _cudagraph_support: ClassVar[Any] = AttentionCGSupport.UNIFORM_BATCH
    query_len_support: ClassVar[Any] = QueryLenSupport.UNIFORM
    # Up to so many new tokens a prompt's end is decoded: the absorbed form costs less there.
    reorder_batch_threshold: int = 128

    def __init__(
        self, kv_cache_spec: Any, layer_names: List[str], vllm_config: Any, device: torch.device
    ) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device, MLACommonMetadata)
        self._schedules: Dict[Tuple[int, ...], Any] = {}
        self._format = _format_of(vllm_config.cache_config.cache_dtype, self.model_config.dtype)
        parallel = vllm_config.parallel_config
        # Under decode context parallelism every rank attends with the heads of all.
        ranks = getattr(parallel, "decode_context_parallel_size", 1)
        self._heads = self.model_config.get_num_attention_heads(parallel) * ranks

    def _build_decode(  # vLLM names the arguments, whose order differs between versions
        self,
        *,
        block_table_tensor: torch.Tensor,
        seq_lens_device: torch.Tensor,
        max_seq_len: int,
        query_start_loc_cpu: torch.Tensor,
        query_start_loc_device: torch.Tensor,
        num_decode_tokens: int,
        dcp_tot_seq_lens_device: Optional[torch.Tensor] = None,
        **rest: Any,
    ) -> SeesawDecodeMetadata:
        batch, columns = block_table_tensor.shape
        return SeesawDecodeMetadata(
            block_table=block_table_tensor,
            seq_lens=seq_lens_device,
            dcp_tot_seq_lens=dcp_tot_seq_lens_device,
            schedule=self._schedule(batch, num_decode_tokens // batch, columns, seq_lens_device),
        )

    def _schedule(self, batch: int, s_q: int, columns: int, seq_lens: torch.Tensor) -> Any:
        key = (batch, s_q, columns)
        if key in self._schedules:
            return self._schedules[key].update(seq_lens)
        problem = DenseDecodeProblem(
            batch=batch,
            s_q=s_q,
            h_q=self._heads,
            page_size=self.kv_cache_spec.block_size,
            max_pages_per_sequence=columns,
            q_dtype=dtype_name(self.model_config.dtype),  # type: ignore[arg-type]
            kv_format=self._format,
            d_qk=_D_QK,
            d_v=_D_V,
            causal=True,
        )
        invariant = bool(envs.VLLM_BATCH_INVARIANT)
        made = seesaw.make_schedule(problem, seq_lens, batch_invariant=invariant)
        self._schedules[key] = made
        return made


class SeesawMLAImpl(MLACommonImpl[MLACommonMetadata]):
    """One layer. vLLM projects, absorbs and un-absorbs; this writes the cache and attends it."""

    can_return_lse_for_decode: bool = True
    lse_base_on_e: bool = True
    supports_dcp: bool = True

    def __init__(self, *args: Any, **mla_args: Any) -> None:
        super().__init__(*args, **mla_args)
        # vLLM's order of arguments: alibi_slopes is the fifth, sliding_window the sixth, ...
        names = ("alibi_slopes", "sliding_window", None, "logits_soft_cap")
        for name, value in zip(names, args[4:8]):
            if name is not None and value:
                raise NotImplementedError(
                    f"seesaw.vllm: {name} = {value!r}, allowed: none. Choose another backend "
                    "for this model."
                )
        # A query in the model's dtype also over an FP8 cache.
        self.supports_quant_query_input = False
        _keep_up_projection(self.kv_b_proj)

    def do_kv_cache_update(
        self,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
        kv_cache_dtype: str,
        k_scale: torch.Tensor,
    ) -> None:
        """Writes new tokens: kv_c_normed [t, 512], k_pe [t, 1, 64], slot_mapping [n], n <= t."""
        if kv_cache.numel() == 0:
            return
        # "bfloat16" and the like are the dtype of the cache itself.
        dtype = kv_cache_dtype if kv_cache_dtype in _FP8 else "auto"
        k_pe = k_pe.reshape(k_pe.shape[0], -1)
        slots = slot_mapping.flatten()
        concat_and_cache_mla(kv_c_normed, k_pe, kv_cache, slots, dtype, k_scale)

    def forward_mqa(
        self,
        q: Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]],
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: Any,
        layer: Any,
    ) -> Tuple[torch.Tensor, Optional[torch.Tensor]]:
        """Decodes absorbed queries [t, h, 576], or (q_latent [t, h, 512], q_rope [t, h, 64]).

        Returns:
            (out [t, h, 512], lse [t, h], natural)
        """
        if isinstance(q, tuple):
            q = torch.cat(q, dim=-1)
        decode = attn_metadata.decode
        tokens, heads, _ = q.shape
        batch = attn_metadata.num_decodes
        out, lse = seesaw.dense_decode(
            q.view(batch, tokens // batch, heads, -1),
            kv_c_and_k_pe_cache,
            decode.block_table,
            decode.seq_lens,
            scale=self.scale,
            schedule=decode.schedule,
            kv_scale=layer._k_scale if self.kv_cache_dtype in _FP8 else None,
            lse_layout="bsh",
        )
        return out.view(tokens, heads, -1), lse.view(tokens, heads)


def _format_of(kv_cache_dtype: str, dtype: torch.dtype) -> Any:
    """The cache's kv_format for vLLM's name of it."""
    if kv_cache_dtype in _FP8:
        return "fp8_576"
    return dtype_name(dtype) if kv_cache_dtype == "auto" else kv_cache_dtype


def _keep_up_projection(kv_b_proj: Any) -> None:
    """vLLM's CPU build packs a linear layer's weight and drops it; MLA still needs this one's, to
    absorb it."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    if type(kv_b_proj.quant_method) is not UnquantizedLinearMethod:
        return

    class KeepsWeight(UnquantizedLinearMethod):
        def process_weights_after_loading(self, layer: Any) -> None:
            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)

    kv_b_proj.quant_method = KeepsWeight()
