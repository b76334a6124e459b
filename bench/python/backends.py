"""Libraries that decode MLA, behind one interface: `prepare(inputs)` does what an engine does once
per step, and returns the call that is repeated for every layer.

A call returns (out, lse): out [b, s_q, h_q, d_v], lse [b, h_q, s_q] as natural log, or None.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Callable, Dict, Optional, Tuple

import torch
from inputs import D_QK, D_V, SCALE, Inputs, causal_bias

Result = Tuple[torch.Tensor, Optional[torch.Tensor]]
Call = Callable[[], Result]


class Backend:
    """`why_not` is empty where the library can be used."""

    name = ""
    module = ""
    needs_cuda = True

    def why_not(self, inputs: Inputs) -> str:
        if self.needs_cuda and inputs.device.type != "cuda":
            return "runs on GPUs only"
        top = self.module.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            return f"{top} is not installed"
        try:
            importlib.import_module(self.module)
        except Exception as error:  # a library built for another driver, CUDA or PyTorch
            return f"import {self.module}: {type(error).__name__}: {error}"
        return ""

    def prepare(self, inputs: Inputs) -> Call:
        raise NotImplementedError

    def kernel(self) -> str:
        """What ran, as far as the library tells."""
        return self.name


class Seesaw(Backend):
    name = "seesaw"
    module = "seesaw"
    needs_cuda = False

    def __init__(self) -> None:
        self._kernel = self.name

    def prepare(self, inputs: Inputs) -> Call:
        import seesaw

        problem = seesaw.Problem.of(*inputs.arrays[:3], causal=inputs.shape.causal)
        self._kernel = seesaw.explain(problem).kernel or "none"
        schedule = seesaw.make_schedule(problem, inputs.seq_lens)
        out, lse = seesaw.dense_decode(*inputs.arrays, schedule=schedule, scale=SCALE)
        size = seesaw.workspace_size(problem)
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


class FlashMla(Backend):
    name = "flash_mla"
    module = "flash_mla"

    def why_not(self, inputs: Inputs) -> str:
        return super().why_not(inputs) or (
            "" if inputs.shape.page_size == 64 else "pages of 64 tokens only"
        )

    def prepare(self, inputs: Inputs) -> Call:
        import flash_mla

        shape = inputs.shape
        metadata, num_splits = flash_mla.get_mla_metadata(inputs.seq_lens, shape.s_q * shape.h_q, 1)
        return lambda: flash_mla.flash_mla_with_kvcache(
            *inputs.arrays, D_V, metadata, num_splits, SCALE, shape.causal
        )


class FlashInfer(Backend):
    name = "flashinfer"
    module = "flashinfer"

    def prepare(self, inputs: Inputs) -> Call:
        from flashinfer.mla import BatchMLAPagedAttentionWrapper

        shape = inputs.shape
        pages = [-(-length // shape.page_size) for length in inputs.lengths]
        indices = torch.cat([row[:n] for row, n in zip(inputs.block_table, pages)])
        starts = torch.tensor([0, *pages], dtype=torch.int32).cumsum(0).int()
        q_starts = torch.arange(shape.b + 1, dtype=torch.int32) * shape.s_q
        workspace = torch.empty(128 << 20, dtype=torch.uint8, device=inputs.device)
        wrapper = BatchMLAPagedAttentionWrapper(workspace, backend="auto")
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
            SCALE,
            inputs.q.dtype,
            inputs.q.dtype,
        )
        rows = inputs.q.view(-1, shape.h_q, D_QK)
        cache = inputs.kv_cache[:, :, 0]
        parts = (rows[..., :D_V], rows[..., D_V:], cache[..., :D_V], cache[..., D_V:])

        def call() -> Result:
            out, lse = wrapper.run(*parts, return_lse=True)  # its LSE is in base 2
            lse = lse.view(shape.b, shape.s_q, shape.h_q).transpose(1, 2) * math.log(2)
            return out.view(*inputs.q.shape[:3], D_V), lse

        return call


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


class VllmTriton(Backend):
    """The Triton kernel that vLLM falls back to: one query token, splits fixed by the caller."""

    name = "triton (vllm)"
    module = "vllm.v1.attention.ops.triton_decode_attention"
    _splits = 8

    def why_not(self, inputs: Inputs) -> str:
        return super().why_not(inputs) or (
            "" if inputs.shape.s_q == 1 else "one query token a sequence only"
        )

    def prepare(self, inputs: Inputs) -> Call:
        decode = importlib.import_module(self.module).decode_attention_fwd
        shape = inputs.shape
        q = inputs.q[:, 0]
        out = q.new_empty(shape.b, shape.h_q, D_V)
        lse = q.new_empty(shape.b, shape.h_q, dtype=torch.float32)
        partial = q.new_empty(shape.b, shape.h_q, self._splits, D_V + 1, dtype=torch.float32)
        cache = inputs.kv_cache

        def call() -> Result:
            decode(
                q,
                cache,
                cache[..., :D_V],
                out,
                lse,
                inputs.block_table,
                inputs.seq_lens,
                partial,
                self._splits,
                SCALE,
                shape.page_size,
            )
            return out[:, None], lse[..., None]

        return call


BACKENDS: Dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Seesaw(),
        SeesawAsFlashMla(),
        TorchReference(),
        FlashMla(),
        FlashInfer(),
        FlashAttention3(),
        VllmTriton(),
    )
}
