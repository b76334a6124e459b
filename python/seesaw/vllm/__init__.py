"""Seesaw in vLLM: an attention backend for models with MLA, by vLLM's own plugin interface.

    pip install 'seesaw[vllm]'
    vllm serve deepseek-ai/DeepSeek-V2-Lite --attention-backend CUSTOM

vLLM finds `register` by the entry point `vllm.general_plugins`, and, where it is built for CPUs,
`cpu_platform` by `vllm.platform_plugins`. With SEESAW_VLLM_REPLACE=FLASHMLA in the environment the
backend takes that name, too, so that nothing has to be chosen. See docs/engines.md.
"""

from __future__ import annotations

import os
from typing import Optional

TESTED = ("0.26.0", "0.32.0", "0.33.0")
"""Versions of vLLM whose interface the tests compare with."""

_BACKEND = "seesaw.vllm.choice.Backend"
_PREFILL = "seesaw.vllm.prefill.TorchPrefillBackend"
_REPLACEABLE = (
    "FLASHMLA",
    "FLASH_ATTN_MLA",
    "TRITON_MLA",
    "FLASHMLA_SPARSE",
    "FLASH_ATTN_MLA_SPARSE",
)


def register() -> None:
    """Registers the backend as CUSTOM. vLLM calls it in every process; any number of times.

    Raises:
        ValueError: SEESAW_VLLM_REPLACE names no backend that this one can stand in for.
    """
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    register_backend(AttentionBackendEnum.CUSTOM, _BACKEND)
    replaced = os.environ.get("SEESAW_VLLM_REPLACE")
    if replaced:
        if replaced not in _REPLACEABLE:
            raise ValueError(
                f"seesaw.vllm: SEESAW_VLLM_REPLACE = {replaced}, allowed: "
                f"{', '.join(_REPLACEABLE)}. Unset it, and choose --attention-backend CUSTOM."
            )
        register_backend(AttentionBackendEnum[replaced], _BACKEND)
    _register_prefill(on_cpu=current_platform.is_cpu())


def _register_prefill(on_cpu: bool) -> None:
    """Prompts are the engine's own to compute. vLLM 0.26 has nothing for CPUs, and there asks for
    FLASH_ATTN; later versions bring their own."""
    from importlib.util import find_spec

    from vllm.v1.attention.backends.mla.prefill.registry import (
        MLAPrefillBackendEnum,
        register_mla_prefill_backend,
    )

    register_mla_prefill_backend(MLAPrefillBackendEnum.CUSTOM, _PREFILL)
    if on_cpu and find_spec("vllm.v1.attention.backends.mla.prefill.cpu_sdpa") is None:
        register_mla_prefill_backend(MLAPrefillBackendEnum.FLASH_ATTN, _PREFILL)


def cpu_platform() -> Optional[str]:
    """The platform's class where vLLM is built for CPUs, whose own takes no other MLA backend than
    its own, or none at all; elsewhere None."""
    from vllm.platforms import cpu_platform_plugin

    return "seesaw.vllm.platform.SeesawCpuPlatform" if cpu_platform_plugin() else None
