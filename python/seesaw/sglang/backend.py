"""SGLang's attention backend: decoding and verification by `seesaw.dense_decode`."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import torch
from sglang.srt.layers.attention.base_attn_backend import AttentionBackend

import seesaw
from seesaw._tables import DenseDecodeProblem

_FP8 = (torch.float8_e4m3fn,)


class SeesawAttnBackend(AttentionBackend):
    """Decodes, and verifies chains of draft tokens; prompts go to a backend of SGLang's own.

    Block table, lengths and schedules of a step lie in buffers that stay where they are, so that a
    CUDA graph reads what later steps write to them.

    Args:
        runner: SGLang's ModelRunner. prefill: Makes the backend for prompts, of the runner, once
            one comes.

    Raises:
        NotImplementedError: Draft tokens form a tree, or the cache has a dtype without a kernel.
    """

    # Lengths stay on the device: nothing waits for it between steps.
    needs_cpu_seq_lens = False

    def __init__(self, runner: Any, prefill: Callable[[Any], Any]) -> None:
        super().__init__()
        arguments, config = runner.server_args, runner.model_config
        topk = getattr(arguments, "speculative_eagle_topk", None)
        if topk is not None and topk > 1:
            raise NotImplementedError(
                f"seesaw.sglang: speculative_eagle_topk = {topk}, allowed: 1, chains of draft "
                "tokens. Set --speculative-eagle-topk 1."
            )
        if runner.kv_cache_dtype == torch.float8_e5m2:
            raise NotImplementedError(
                "seesaw.sglang: kv_cache_dtype = fp8_e5m2, allowed: auto, bfloat16, fp8_e4m3. "
                "Choose one of them."
            )
        # Both are SGLang's to read, too.
        self.token_to_kv_pool = runner.token_to_kv_pool
        self.req_to_token_pool = runner.req_to_token_pool
        self.page_size = arguments.page_size
        self.device = torch.device(runner.device)
        self.d_v, self.d_rope = config.kv_lora_rank, config.qk_rope_head_dim
        self.d_qk = self.d_v + self.d_rope
        self.num_draft_tokens = getattr(arguments, "speculative_num_draft_tokens", None) or 0
        self.kv_format = "fp8_576" if runner.kv_cache_dtype in _FP8 else None
        longest = self.req_to_token_pool.req_to_token.shape[1]
        # The last page of a longest sequence may reach behind the request's row.
        self._columns = longest // self.page_size
        self._table = torch.zeros(0, self._columns, dtype=torch.int32, device=self.device)
        self._lengths = torch.zeros(0, dtype=torch.int32, device=self.device)
        self._schedules: Dict[Tuple[int, int], Any] = {}
        self._step: Tuple[int, int] = (0, 1)
        self._runner, self._make_prefill = runner, prefill
        self._prefill: Any = None

    @property
    def prefill(self) -> Any:
        """The backend for prompts."""
        if self._prefill is None:
            self._prefill = self._make_prefill(self._runner)
        return self._prefill

    def init_forward_metadata(self, forward_batch: Any) -> None:
        """Before the layers of a step."""
        if self._decodes(forward_batch):
            self.init_forward_metadata_out_graph(forward_batch)
        else:
            self.prefill.init_forward_metadata(forward_batch)

    def init_forward_metadata_out_graph(self, forward_batch: Any, in_capture: bool = False) -> None:
        """The same where the layers are in a CUDA graph: nothing here waits for the device."""
        if not self._decodes(forward_batch):
            self.prefill.init_forward_metadata_out_graph(forward_batch, in_capture=in_capture)
            return
        batch, s_q = forward_batch.batch_size, self._query_tokens(forward_batch)
        lengths = forward_batch.seq_lens[:batch]
        if forward_batch.forward_mode.is_target_verify():
            lengths = lengths + self.num_draft_tokens
        self._reserve(batch)
        self._lengths[:batch].copy_(lengths)
        # A page's first slot, of the slots of a request's tokens, tells the page.
        slots = self.req_to_token_pool.req_to_token[forward_batch.req_pool_indices[:batch]]
        first = slots[:, : self._columns * self.page_size : self.page_size]
        self._table[:batch].copy_(first // self.page_size)
        self._step = (batch, s_q)
        schedule = self._schedules.get(self._step)
        if schedule is not None:
            schedule.update(self._lengths[:batch])

    def init_cuda_graph_state(self, max_bs: int, max_num_tokens: int) -> None:
        """Buffers for the largest batch, before graphs are captured."""
        self._reserve(max_bs)

    def get_cuda_graph_seq_len_fill_value(self) -> int:
        return 1

    def forward_decode(
        self,
        q: torch.Tensor,
        k: Optional[torch.Tensor],
        v: Optional[torch.Tensor],
        layer: Any,
        forward_batch: Any,
        save_kv_cache: bool = True,
        q_rope: Optional[torch.Tensor] = None,
        k_rope: Optional[torch.Tensor] = None,
        **rest: Any,
    ) -> torch.Tensor:
        """One layer.

        Args:
            q: [tokens, h * 576] absorbed, or its latent part with q_rope [tokens, h, 64].
            k: [tokens, 1, 576], or its latent part with k_rope; v: its latent part.

        Returns:
            [tokens, h * 512].
        """
        batch, s_q = self._step
        if k is not None and save_kv_cache:
            self._save(layer, forward_batch.out_cache_loc, k, v, k_rope)
        heads = layer.tp_q_head_num
        if q_rope is None:
            q, q_rope = q.view(-1, heads, self.d_qk).split([self.d_v, self.d_rope], -1)
        q_latent = q.view(batch, s_q, heads, self.d_v)
        q_rotary = q_rope.view(batch, s_q, heads, self.d_rope)
        cache = self.token_to_kv_pool.get_key_buffer(layer.layer_id)
        cache = cache.view(-1, self.page_size, self.d_qk)
        table, lengths = self._table[:batch], self._lengths[:batch]
        schedule = self._schedules.get(self._step)
        if schedule is None:  # the first layer that this shape meets
            problem = DenseDecodeProblem.of(
                q_latent,
                cache,
                table,
                kv_format=self.kv_format,
                causal=True,
                d_v=self.d_v,
                d_rope=self.d_rope,
            )
            schedule = seesaw.make_schedule(problem, lengths)
            self._schedules[self._step] = schedule
        out, _ = seesaw.dense_decode(
            q_latent,
            cache,
            table,
            lengths,
            scale=layer.scaling,
            q_rotary=q_rotary,
            schedule=schedule,
            kv_scale=getattr(layer, "k_scale", None) if self.kv_format else None,
        )
        return out.view(-1, heads * self.d_v)

    def forward_extend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        layer: Any,
        forward_batch: Any,
        save_kv_cache: bool = True,
        **rest: Any,
    ) -> torch.Tensor:
        """Verification of draft tokens as `forward_decode`; prompts by their own backend."""
        run = self.forward_decode if self._decodes(forward_batch) else self.prefill.forward_extend
        return run(q, k, v, layer, forward_batch, save_kv_cache=save_kv_cache, **rest)

    def _decodes(self, forward_batch: Any) -> bool:
        mode = forward_batch.forward_mode
        return bool(mode.is_decode_or_idle() or mode.is_target_verify())

    def _query_tokens(self, forward_batch: Any) -> int:
        return self.num_draft_tokens if forward_batch.forward_mode.is_target_verify() else 1

    def _reserve(self, batch: int) -> None:
        """Room for so many sequences; before any graph is captured, for all of them."""
        if batch > self._lengths.shape[0]:
            self._table = self._table.new_zeros(batch, self._columns)
            self._lengths = self._lengths.new_zeros(batch)

    def _save(
        self, layer: Any, slots: torch.Tensor, k: Any, v: Any, k_rope: Optional[torch.Tensor]
    ) -> None:
        if k_rope is None:
            self.token_to_kv_pool.set_kv_buffer(layer, slots, k, v)
        else:
            self.token_to_kv_pool.set_mla_kv_buffer(layer, slots, k, k_rope)
