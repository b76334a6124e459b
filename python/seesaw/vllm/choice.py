"""The backend of the model at hand.

vLLM gives the name CUSTOM one class, but asks a class whether it is sparse. So what is registered
is `Backend` of this module, which is found anew each time: the sparse one for models with an
indexer (DeepSeek-V3.2, GLM-5), else the dense one.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "Backend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vllm.config import get_current_vllm_config_or_none

    if has_indexer(get_current_vllm_config_or_none()):
        from seesaw.vllm.sparse import SeesawSparseMLABackend

        return SeesawSparseMLABackend
    from seesaw.vllm.backend import SeesawMLABackend

    return SeesawMLABackend


def has_indexer(vllm_config: Any) -> bool:
    """Whether the model chooses tokens, as vLLM itself tells it (index_topk)."""
    model = getattr(vllm_config, "model_config", None)
    configs = [getattr(model, name, None) for name in ("hf_text_config", "hf_config")]
    return any(getattr(config, "index_topk", None) is not None for config in configs)
