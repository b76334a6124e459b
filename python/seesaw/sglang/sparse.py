"""SGLang's backend for sparse attention (DeepSeek-V3.2, GLM-5), by `seesaw.sparse_decode`.

SGLang's class keeps what it does for all its kernels: pages, the indexer's data, CUDA graphs,
speculation. Two of its methods call a kernel of FlashMLA, for which heads are padded to 64; here
they call Seesaw, which takes as many as there are. `--dsa-decode-backend` and
`--dsa-prefill-backend` choose the method: `flashmla_sparse` or `flashmla_kv`.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch
from sglang.srt.layers.attention.dsa_backend import DeepseekSparseAttnBackend

import seesaw
from seesaw._fields import dtype_name
from seesaw._tables import SparseDecodeProblem

OURS = ("flashmla_sparse", "flashmla_kv")
"""SGLang's names of the kernels that Seesaw stands in for."""

_MOST_KEPT = 1024
"""Query tokens up to which schedules are kept for later steps; more are a prompt's."""


class SeesawSparseAttnBackend(DeepseekSparseAttnBackend):  # type: ignore[misc]
    """Decodes, verifies draft tokens and computes prompts.

    Raises:
        ValueError: Another kernel is chosen for decoding.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.dsa_decode_impl not in OURS:
            raise ValueError(
                f"seesaw.sglang: dsa_decode_backend = {self.dsa_decode_impl}, allowed: "
                f"{', '.join(OURS)}. Set --dsa-decode-backend, or unset SEESAW_SGLANG_REPLACE."
            )
        self._schedules: Dict[Tuple[Any, ...], Any] = {}

    def _forward_flashmla_sparse(
        self,
        q_all: torch.Tensor,
        kv_cache: torch.Tensor,
        v_head_dim: int,
        page_table_1: torch.Tensor,
        sm_scale: float,
        topk_length: Optional[torch.Tensor] = None,
        attn_sink: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Attends queries [t, h, 576] over the slots page_table_1 [t, topk] int32, -1 for none.

        Args:
            kv_cache: [slots, 1, 576], or of 656 bytes a token.
            topk_length: Not read: a slot that does not count is -1, and without lengths a schedule
                serves every step. (0.5.23) attn_sink: [h]. (0.5.23)

        Returns:
            [t, h, 512].
        """
        rows = kv_cache.view(-1, 1, 1, kv_cache.shape[-1])  # a slot is a page of its own
        slots = page_table_1[:, None]
        out, *_ = seesaw.sparse_decode(
            q_all[:, None],
            rows,
            slots,
            scale=sm_scale,
            sinks=None if attn_sink is None else attn_sink.to(torch.float32),
            **self._how(q_all, rows, slots, v_head_dim),
        )
        return out[:, 0]

    def _forward_flashmla_kv(
        self,
        q_all: torch.Tensor,
        kv_cache: torch.Tensor,
        v_head_dim: int,
        sm_scale: float,
        layer: Any,
        metadata: Any,
        page_table_1: torch.Tensor,
    ) -> torch.Tensor:
        """The same, over a cache in either form as it is: [t, 1, h, 512]."""
        q = q_all.view(-1, layer.tp_q_head_num, layer.head_dim)
        return self._forward_flashmla_sparse(q, kv_cache, v_head_dim, page_table_1, sm_scale)[
            :, None
        ]

    def _how(
        self, q: torch.Tensor, rows: torch.Tensor, slots: torch.Tensor, d_v: int
    ) -> Dict[str, Any]:
        """A schedule, which the numbers of tokens, heads and slots decide; or, where it cannot be
        kept, the settings to make one of in the call."""
        settings = {"kv_format": _format_of(rows), "d_v": d_v}
        tokens, h_q, d_qk = q.shape
        key = (tokens, h_q, slots.shape[2], settings["kv_format"])
        if tokens > _MOST_KEPT:
            return settings
        if key not in self._schedules:
            if q.is_cuda and torch.cuda.is_current_stream_capturing():
                return settings  # what a graph makes is not there before it runs
            problem = SparseDecodeProblem(
                batch=tokens,
                h_q=h_q,
                topk=slots.shape[2],
                page_size=1,
                d_qk=d_qk,
                q_dtype=dtype_name(q.dtype),  # type: ignore[arg-type]
                **settings,  # type: ignore[arg-type]
            )
            self._schedules[key] = seesaw.make_schedule(problem, slots)
        return {"schedule": self._schedules[key]}


def _format_of(rows: torch.Tensor) -> str:
    """Of a cache's rows, by their dtype and columns."""
    packed = seesaw.formats()["fp8_656"]
    if rows.element_size() > 1:
        return dtype_name(rows.dtype)
    if rows.shape[-1] != packed.row_bytes:
        raise NotImplementedError(
            f"seesaw.sglang: a cache of {rows.shape[-1]} bytes a token, allowed: "
            f"{packed.row_bytes}, or bfloat16. Set --kv-cache-dtype bfloat16."
        )
    return packed.name
