"""A prefill of prompts in plain PyTorch, for machines on which vLLM has none."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple, Union

import torch
from vllm.v1.attention.backends.mla.prefill.base import MLAPrefillBackend


class TorchPrefillBackend(MLAPrefillBackend):
    """Softmax attention of expanded heads, sequence by sequence, in float32, any dimensions."""

    supported_dtypes = [torch.float16, torch.bfloat16, torch.float32]

    @staticmethod
    def get_name() -> str:
        return "SEESAW_TORCH"

    def prepare_metadata(self, prefill_metadata: Any) -> None:
        super().prepare_metadata(prefill_metadata)
        self._begins = prefill_metadata.query_start_loc.tolist()

    def run_prefill_new_tokens(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        return_softmax_lse: bool,
        out: Optional[torch.Tensor] = None,
        output_scale: Any = None,
        **rest: Any,
    ) -> Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]:
        """q, k [tokens, h, d_qk], v [tokens, h, d_v]; lse [h, tokens]."""
        found, lse = _attend(q, k, v, self._begins, self._begins, self.scale, causal=True)
        if out is not None:
            out.view(found.shape).copy_(found)
            found = out
        return (found, lse) if return_softmax_lse else found

    def run_prefill_context_chunk(
        self,
        *,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        chunk_idx: int = 0,
        chunk: Any = None,
        out: Optional[torch.Tensor] = None,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """New tokens over cached ones. vLLM names the chunk by its number (0.26), or brings it
        with the begins of its own queries (0.32)."""
        if chunk is not None:
            queries, keys = chunk.query_start_loc.tolist(), chunk.cu_seq_lens.tolist()
        else:
            chunks = self._prefill_metadata.chunked_context
            queries, keys = self._begins, chunks.cu_seq_lens[chunk_idx].tolist()
        found, lse = _attend(q, k, v, queries, keys, self.scale, causal=False)
        return (found if out is None else out.copy_(found)), lse


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    queries: List[int],
    keys: List[int],
    scale: float,
    causal: bool,
) -> Tuple[torch.Tensor, torch.Tensor]:
    """(out [tokens, h, d_v], lse [h, tokens]); sequence i has queries[i] to queries[i + 1]."""
    out = q.new_zeros(*q.shape[:2], v.shape[-1])
    lse = q.new_full((q.shape[1], q.shape[0]), -torch.inf, dtype=torch.float32)
    for begin, end, first, last in zip(queries, queries[1:], keys, keys[1:]):
        if begin == end or first == last:
            continue
        scores = torch.einsum("qhd,khd->hqk", q[begin:end].float(), k[first:last].float()) * scale
        if causal:
            n, m = scores.shape[1:]
            hidden = torch.ones(n, m, dtype=torch.bool, device=q.device).triu(1 + m - n)
            scores.masked_fill_(hidden, -torch.inf)
        lse[:, begin:end] = scores.logsumexp(-1)
        weights = scores.softmax(-1)
        out[begin:end] = torch.einsum("hqk,khd->qhd", weights, v[first:last].float()).to(q.dtype)
    return out, lse
