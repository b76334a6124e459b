"""The kernels that a vLLM wheel brings along: FlashMLA, FlashAttention-3 and a Triton kernel, each
called as vLLM's own attention backends call it."""

from __future__ import annotations

import importlib

import torch
from backend import Backend, Call, Result
from inputs import D_QK, D_V, SCALE, Inputs


class FlashMlaInterface(Backend):
    """FlashMLA's functions, wherever they are installed."""

    def why_not(self, inputs: Inputs) -> str:
        return super().why_not(inputs) or (
            "" if inputs.shape.page_size == 64 else "pages of 64 tokens only"
        )

    def prepare(self, inputs: Inputs) -> Call:
        flash_mla = importlib.import_module(self.module)
        shape = inputs.shape
        metadata, num_splits = flash_mla.get_mla_metadata(inputs.seq_lens, shape.s_q * shape.h_q, 1)
        return lambda: flash_mla.flash_mla_with_kvcache(
            *inputs.arrays, D_V, metadata, num_splits, SCALE, shape.causal
        )


class VllmFlashMla(FlashMlaInterface):
    name = "flash_mla (vllm)"
    module = "vllm.third_party.flashmla.flash_mla_interface"


class VllmFlashAttention3(Backend):
    """With a schedule made in advance and no bound on the number of splits."""

    name = "flash_attn_3 (vllm)"
    module = "vllm.vllm_flash_attn.flash_attn_interface"

    def why_not(self, inputs: Inputs) -> str:
        reason = super().why_not(inputs)
        if reason:
            return reason
        interface = importlib.import_module(self.module)
        return "" if interface.FA3_AVAILABLE else str(interface.FA3_UNAVAILABLE_REASON)

    def prepare(self, inputs: Inputs) -> Call:
        interface = importlib.import_module(self.module)
        shape = inputs.shape
        rows = inputs.q.view(-1, shape.h_q, D_QK)
        cache = inputs.kv_cache
        q_starts = torch.arange(shape.b + 1, dtype=torch.int32, device=inputs.device) * shape.s_q
        longest = max(inputs.lengths)
        schedule = interface.get_scheduler_metadata(
            batch_size=shape.b,
            max_seqlen_q=shape.s_q,
            max_seqlen_k=longest,
            num_heads_q=shape.h_q,
            num_heads_kv=1,
            headdim=D_QK - D_V,
            headdim_v=D_V,
            cache_seqlens=inputs.seq_lens,
            qkv_dtype=inputs.q.dtype,
            page_size=shape.page_size,
            cu_seqlens_q=q_starts,
            causal=shape.causal,
        )
        arguments = dict(
            q=rows[..., D_V:],
            k=cache[..., D_V:],
            v=cache[..., :D_V],
            q_v=rows[..., :D_V],
            max_seqlen_q=shape.s_q,
            cu_seqlens_q=q_starts,
            max_seqlen_k=longest,
            seqused_k=inputs.seq_lens,
            block_table=inputs.block_table,
            softmax_scale=SCALE,
            causal=shape.causal,
            return_softmax_lse=True,
            scheduler_metadata=schedule,
            fa_version=3,
        )

        def call() -> Result:
            out, lse = interface.flash_attn_varlen_func(**arguments)
            lse = lse.view(shape.h_q, shape.b, shape.s_q).transpose(0, 1)
            return out.view(*inputs.q.shape[:3], D_V), lse

        return call


class VllmTriton(Backend):
    """The Triton kernel that vLLM falls back to: one query token, splits fixed by the caller, and
    offsets of 32 bits (beyond them it read elsewhere: an illegal access at 128 x 32768 tokens)."""

    name = "triton (vllm)"
    module = "vllm.v1.attention.ops.triton_decode_attention"

    def why_not(self, inputs: Inputs) -> str:
        reason = super().why_not(inputs)
        if reason:
            return reason
        if inputs.shape.s_q > 1:
            return "one query token a sequence only"
        return "" if inputs.kv_cache.numel() < 2**31 else "caches of less than 2^31 elements only"

    def prepare(self, inputs: Inputs) -> Call:
        decode = importlib.import_module(self.module).decode_attention_fwd
        shape = inputs.shape
        splits = self._splits(inputs)
        q = inputs.q[:, 0]
        out = q.new_empty(shape.b, shape.h_q, D_V)
        lse = q.new_empty(shape.b, shape.h_q, dtype=torch.float32)
        partial = q.new_empty(shape.b, shape.h_q, splits, D_V + 1, dtype=torch.float32)
        one = q.new_ones((), dtype=torch.float32)
        cache = inputs.kv_cache
        tensors = (q, cache, cache[..., :D_V], out, lse, inputs.block_table, inputs.seq_lens)

        def call() -> Result:
            decode(
                *tensors, partial, splits, inputs.scale, shape.page_size, k_scale=one, v_scale=one,
                is_mla=True,
            )  # fmt: skip
            return out[:, None], lse[..., None]

        return call

    @staticmethod
    def _splits(inputs: Inputs) -> int:
        """As vLLM 0.20 chooses: a power of two, 512 tokens each at least, two a multiprocessor at
        most."""
        wanted = max(1, max(inputs.lengths) // 512)
        units = torch.cuda.get_device_properties(inputs.device).multi_processor_count
        return min(1 << (wanted - 1).bit_length(), 2 * units)
