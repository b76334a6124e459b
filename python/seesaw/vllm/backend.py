"""vLLM's three classes of an attention backend: what it is, a step, a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

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
from seesaw.vllm._common import (
    D_QK,
    D_ROPE,
    D_V,
    FP8,
    Answers,
    WritesCache,
    kv_format_of,
    parts_of,
    refuse_extras,
    strides_of_cache,
    why_not,
)


class SeesawMLABackend(Answers, MLACommonBackend):
    """What vLLM asks before it takes the backend."""

    supported_dtypes: ClassVar[List[torch.dtype]] = [torch.float16, torch.bfloat16, torch.float32]
    supported_kv_cache_dtypes: ClassVar[List[str]] = ["auto", "float16", "bfloat16", *FP8]

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
        if not use_mla or use_sparse or head_size != D_QK or dtype not in cls.supported_dtypes:
            return None  # vLLM gives the reason itself
        problem = DenseDecodeProblem(
            batch=1,
            h_q=16,
            max_pages_per_sequence=1,
            page_size=block_size or 64,
            q_dtype=dtype_name(dtype),  # type: ignore[arg-type]
            kv_format=kv_format_of(kv_cache_dtype or "auto", dtype),
            causal=True,
            d_rope=D_ROPE,
        )
        return why_not(problem, device_capability)


@dataclass(frozen=True)
class Part:
    """Sequences of a step that one call decodes, one behind the other.

    Attributes:
        sequences, tokens: Of the step's decodes.
        schedule: For every layer.
        begins: cu_seqlens_q [sequences + 1]; None: all have as many query tokens.
    """

    sequences: slice
    tokens: slice
    schedule: Any
    begins: Optional[torch.Tensor] = None


@dataclass
class SeesawDecodeMetadata(MLACommonDecodeMetadata):
    """parts: All of the step's decodes, in order."""

    parts: Sequence[Part] = ()


class SeesawMLAMetadataBuilder(MLACommonMetadataBuilder[MLACommonMetadata]):
    """Makes a schedule a step. Buffers of schedules stay where they are, one for each shape, so
    that a CUDA graph that was captured with one reads what later steps write to it."""

    _cudagraph_support: ClassVar[Any] = AttentionCGSupport.UNIFORM_BATCH
    query_len_support: ClassVar[Any] = QueryLenSupport.VARLEN
    # Up to so many new tokens a prompt's end is decoded: the absorbed form costs less there.
    reorder_batch_threshold: int = 128

    def __init__(
        self, kv_cache_spec: Any, layer_names: List[str], vllm_config: Any, device: torch.device
    ) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device, MLACommonMetadata)
        self._schedules: Dict[Tuple[Any, ...], Any] = {}
        self._vllm_config, self._layer_names = vllm_config, layer_names
        self._format = kv_format_of(vllm_config.cache_config.cache_dtype, self.model_config.dtype)
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
        columns = block_table_tensor.shape[1]
        new = query_start_loc_cpu.diff().tolist()
        same = uniform_beginning(new, num_decode_tokens)
        parts = []
        if same.sequences:
            lengths = seq_lens_device[: same.sequences]
            schedule = self._schedule(same.sequences, same.s_q, columns, lengths)
            tokens = same.sequences * same.s_q
            parts.append(Part(slice(0, same.sequences), slice(0, tokens), schedule))
        if same.sequences < len(new):
            rest_of = slice(same.sequences, len(new))
            tokens = same.sequences * same.s_q
            begins = query_start_loc_device[same.sequences :] - tokens
            # Rounded up, so that few schedules serve all that comes.
            shape = (_rounded_up(len(new) - same.sequences), _rounded_up(max(new[rest_of])))
            schedule = self._schedule(*shape, columns, seq_lens_device[rest_of], ragged=True)
            parts.append(Part(rest_of, slice(tokens, num_decode_tokens), schedule, begins))
        return SeesawDecodeMetadata(
            block_table=block_table_tensor,
            seq_lens=seq_lens_device,
            dcp_tot_seq_lens=dcp_tot_seq_lens_device,
            parts=parts,
        )

    def _schedule(
        self, batch: int, s_q: int, columns: int, seq_lens: torch.Tensor, ragged: bool = False
    ) -> Any:
        key = (batch, s_q, columns, ragged)
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
            d_qk=D_QK,
            d_v=D_V,
            d_rope=D_ROPE,
            causal=True,
            ragged=ragged,
            **strides_of_cache(self._vllm_config, self._layer_names),
        )
        invariant = bool(envs.VLLM_BATCH_INVARIANT)
        made = seesaw.make_schedule(problem, seq_lens, batch_invariant=invariant)
        self._schedules[key] = made
        return made


class Uniform(NamedTuple):
    """The first `sequences`, which have s_q query tokens each."""

    sequences: int
    s_q: int


def uniform_beginning(new: List[int], tokens: int) -> Uniform:
    """Of the numbers of query tokens: those that the fastest kernels take, which know of one number
    alone. vLLM puts sequences that decode first. A CUDA graph's batch is filled up with sequences
    of no tokens, and tokens of no sequence: it is uniform as a whole."""
    s_q = new[0]
    if s_q == 0:
        return Uniform(0, 0)
    if s_q * len(new) == tokens and all(n in (s_q, 0) for n in new):
        return Uniform(len(new), s_q)
    return Uniform(next((i for i, n in enumerate(new) if n != s_q), len(new)), s_q)


def _rounded_up(n: int) -> int:
    """To a power of two."""
    return 1 << max(n - 1, 0).bit_length()


class SeesawMLAImpl(WritesCache, MLACommonImpl[MLACommonMetadata]):
    """One layer. vLLM projects, absorbs and un-absorbs; this writes the cache and attends it."""

    can_return_lse_for_decode: bool = True
    lse_base_on_e: bool = True
    supports_dcp: bool = True

    def __init__(self, *args: Any, **mla_args: Any) -> None:
        refuse_extras(args, mla_args)
        super().__init__(*args, **mla_args)
        # A query in the model's dtype also over an FP8 cache.
        self.supports_quant_query_input = False
        _keep_up_projection(self.kv_b_proj)

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
        q_latent, q_rotary = parts_of(q)
        decode = attn_metadata.decode
        kv_scale = layer._k_scale if self.kv_cache_dtype in FP8 else None
        if len(decode.parts) == 1:
            queries = (q_latent, q_rotary)
            return self._attend(queries, kv_c_and_k_pe_cache, decode, decode.parts[0], kv_scale)
        out = q_latent.new_empty(*q_latent.shape[:2], D_V)
        lse = q_latent.new_empty(q_latent.shape[:2], dtype=torch.float32)
        for part in decode.parts:
            queries = (q_latent[part.tokens], q_rotary[part.tokens])
            found = self._attend(queries, kv_c_and_k_pe_cache, decode, part, kv_scale)
            out[part.tokens], lse[part.tokens] = found
        return out, lse

    def _attend(
        self,
        q: Tuple[torch.Tensor, torch.Tensor],
        cache: torch.Tensor,
        decode: Any,
        part: Part,
        kv_scale: Any,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """(out [t, h, 512], lse [t, h]) of a part's queries [t, h, 512] and [t, h, 64]."""
        q_latent, q_rotary = q
        tokens, heads, _ = q_latent.shape
        if part.begins is None:
            sequences = part.sequences.stop - part.sequences.start
            q_latent = q_latent.view(sequences, -1, heads, D_V)
            q_rotary = q_rotary.view(sequences, -1, heads, D_ROPE)
        out, lse = seesaw.dense_decode(
            q_latent,
            cache,
            decode.block_table[part.sequences],
            decode.seq_lens[part.sequences],
            scale=self.scale,
            q_rotary=q_rotary,
            schedule=part.schedule,
            kv_scale=kv_scale,
            cu_seqlens_q=part.begins,
            lse_layout="bsh" if part.begins is None else "th",
        )
        return out.view(tokens, heads, -1), lse.view(tokens, heads)


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
