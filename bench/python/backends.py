"""The libraries that bench/compare.py knows."""

from __future__ import annotations

from typing import Dict, Optional

import torch
from backend import Backend, Call, Result
from inputs import D_QK, D_V, SCALE, Inputs, causal_bias
from vllm_backends import FlashMlaInterface, VllmFlashAttention3, VllmFlashMla, VllmTriton


class Seesaw(Backend):
    name = "seesaw"
    module = "seesaw"
    needs_cuda = False

    def __init__(self) -> None:
        self._kernel = self.name

    def prepare(self, inputs: Inputs) -> Call:
        import seesaw

        problem = seesaw.Problem.of(*inputs.arrays[:3], causal=inputs.shape.causal)
        schedule = seesaw.make_schedule(problem, inputs.seq_lens)
        self._kernel = seesaw.explain(schedule).kernel or "none"
        out, lse = seesaw.dense_decode(*inputs.arrays, schedule=schedule, scale=SCALE)
        size = seesaw.workspace_size(schedule)
        workspace = inputs.seq_lens.new_empty(size, dtype=torch.uint8) if size else None
        arguments = dict(schedule=schedule, out=out, lse=lse, workspace=workspace, scale=SCALE)
        return lambda: seesaw.dense_decode(*inputs.arrays, **arguments)

    def kernel(self) -> str:
        return self._kernel


class SeesawAsFlashMla(Seesaw):
    """The drop-in, as an engine that knows FlashMLA would call it."""

    name = "seesaw.compat.flash_mla"

    def prepare(self, inputs: Inputs) -> Call:
        from seesaw.compat.flash_mla import flash_mla_with_kvcache, get_mla_metadata

        metadata, num_splits = get_mla_metadata()
        causal = inputs.shape.causal
        return lambda: flash_mla_with_kvcache(
            *inputs.arrays, D_V, metadata, num_splits, SCALE, causal
        )


class TorchReference(Backend):
    """Pages gathered once, outside the timed call; then the products in the inputs' dtype, softmax
    in float32: what a model without an MLA kernel does."""

    name = "torch"
    module = "torch"
    needs_cuda = False

    def prepare(self, inputs: Inputs) -> Call:
        shape = inputs.shape
        keys = inputs.kv_cache[inputs.block_table.long()].reshape(shape.b, -1, D_QK)
        keys = keys[:, : max(inputs.lengths)].contiguous()
        rows = inputs.q.view(shape.b, shape.s_q * shape.h_q, D_QK)
        bias = self._bias(inputs)

        def call() -> Result:
            scores = torch.bmm(rows, keys.transpose(1, 2)).float().mul_(SCALE)
            if bias is not None:
                scores = scores.view(shape.b, shape.s_q, shape.h_q, -1) + bias
                scores = scores.view(shape.b, shape.s_q * shape.h_q, -1)
            lse = torch.logsumexp(scores, dim=-1)
            weights = torch.softmax(scores, dim=-1).to(inputs.q.dtype)
            out = torch.bmm(weights, keys[..., :D_V]).view(*inputs.q.shape[:3], D_V)
            return out, lse.view(shape.b, shape.s_q, shape.h_q).transpose(1, 2)

        return call

    def _bias(self, inputs: Inputs) -> Optional[torch.Tensor]:
        shape = inputs.shape
        if not shape.causal and not shape.varlen:
            return None
        longest = max(inputs.lengths)
        bias = torch.full((shape.b, shape.s_q, 1, longest), float("-inf"), device=inputs.device)
        for i, length in enumerate(inputs.lengths):
            bias[i, :, 0, :length] = (
                causal_bias(shape.s_q, length, inputs.device) if shape.causal else 0.0
            )
        return bias


class TorchFused(Backend):
    """PyTorch's own attention, heads as query rows of one head. Values of the keys' width, sliced
    after, reach its fused CPU kernel, which wants equal widths."""

    name = "torch.sdpa"
    module = "torch"
    needs_cuda = False

    def why_not(self, inputs: Inputs) -> str:
        shape = inputs.shape
        plain = not shape.causal and not shape.varlen and shape.s_q == 1
        return super().why_not(inputs) or ("" if plain else "one length and query token only")

    def prepare(self, inputs: Inputs) -> Call:
        shape = inputs.shape
        keys = inputs.kv_cache[inputs.block_table.long()].reshape(shape.b, 1, -1, D_QK)
        keys = keys[:, :, : max(inputs.lengths)].contiguous()
        attend = torch.nn.functional.scaled_dot_product_attention
        return lambda: (attend(inputs.q, keys, keys, scale=SCALE)[..., :D_V], None)


class FlashMla(FlashMlaInterface):
    name = "flash_mla"
    module = "flash_mla"


class FlashInfer(Backend):
    name = "flashinfer"
    module = "flashinfer"
    backend = "auto"

    def prepare(self, inputs: Inputs) -> Call:
        from flashinfer.mla import BatchMLAPagedAttentionWrapper

        shape = inputs.shape
        pages = [-(-length // shape.page_size) for length in inputs.lengths]
        indices = torch.cat([row[:n] for row, n in zip(inputs.block_table, pages)])
        starts = torch.tensor([0, *pages], dtype=torch.int32).cumsum(0).int()
        q_starts = torch.arange(shape.b + 1, dtype=torch.int32) * shape.s_q
        workspace = torch.empty(128 << 20, dtype=torch.uint8, device=inputs.device)
        wrapper = BatchMLAPagedAttentionWrapper(workspace, backend=self.backend)
        wrapper.plan(
            q_starts.to(inputs.device),
            starts.to(inputs.device),
            indices,
            inputs.seq_lens,
            shape.h_q,
            D_V,
            D_QK - D_V,
            shape.page_size,
            shape.causal,
            inputs.scale,
            inputs.q.dtype,
            inputs.q.dtype,
        )
        rows = inputs.q.view(-1, shape.h_q, D_QK)
        cache = inputs.kv_cache[:, :, 0]
        parts = (rows[..., :D_V], rows[..., D_V:], cache[..., :D_V], cache[..., D_V:])

        def call() -> Result:
            out, lse = wrapper.run(*parts, return_lse=True, return_lse_base_on_e=True)
            lse = lse.view(shape.b, shape.s_q, shape.h_q).transpose(1, 2)
            return out.view(*inputs.q.shape[:3], D_V), lse

        return call


class FlashInferFa2(FlashInfer):
    """Its kernel for the instructions of Ampere."""

    name = "flashinfer fa2"
    backend = "fa2"


class FlashAttention3(Backend):
    name = "flash_attn_3"
    module = "flash_attn_interface"

    def prepare(self, inputs: Inputs) -> Call:
        from flash_attn_interface import flash_attn_with_kvcache

        latent = inputs.kv_cache[..., :D_V]
        rope = inputs.kv_cache[..., D_V:]
        q_latent, q_rope = inputs.q[..., :D_V], inputs.q[..., D_V:]
        causal = inputs.shape.causal

        def call() -> Result:
            out = flash_attn_with_kvcache(
                q=q_rope,
                k_cache=rope,
                v_cache=latent,
                qv=q_latent,
                cache_seqlens=inputs.seq_lens,
                page_table=inputs.block_table,
                softmax_scale=SCALE,
                causal=causal,
            )
            return out, None

        return call


BACKENDS: Dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Seesaw(),
        SeesawAsFlashMla(),
        TorchReference(),
        TorchFused(),
        FlashMla(),
        VllmFlashMla(),
        FlashInfer(),
        FlashAttention3(),
        VllmFlashAttention3(),
        VllmTriton(),
    )
}
