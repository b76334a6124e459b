"""vLLM's CPU platform, with Seesaw's backend for MLA."""

from __future__ import annotations

from typing import Any

from vllm.platforms.cpu import CpuPlatform
from vllm.v1.attention.backends.registry import AttentionBackendEnum


class SeesawCpuPlatform(CpuPlatform):
    """vLLM's own in everything but the choice of an MLA backend: Seesaw's where CUSTOM is asked
    for, and where nothing is and this version has none (0.26)."""

    @classmethod
    def get_attn_backend_cls(
        cls, selected_backend: Any, attn_selector_config: Any, num_heads: Any = None
    ) -> str:
        has_own = hasattr(AttentionBackendEnum, "CPU_MLA")
        wanted = selected_backend == AttentionBackendEnum.CUSTOM or not (
            selected_backend or has_own
        )
        if wanted and attn_selector_config.use_mla and not attn_selector_config.use_sparse:
            return AttentionBackendEnum.CUSTOM.get_path()
        return super().get_attn_backend_cls(selected_backend, attn_selector_config, num_heads)
