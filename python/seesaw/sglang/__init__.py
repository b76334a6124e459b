"""Seesaw in SGLang: an attention backend for models with MLA, by SGLang's own plugin interface.

    pip install 'seesaw[sglang]'
    python -m sglang.launch_server --model-path ... \\
        --decode-attention-backend seesaw --prefill-attention-backend fa3

SGLang finds `register` by the entry point `sglang.srt.plugins`. With SEESAW_SGLANG_REPLACE=flashmla
(or the name of another backend) in the environment that name decodes by Seesaw, too, and its own
backend computes the prompts; with SEESAW_SGLANG_REPLACE=dsa models with sparse attention, for which
SGLang knows that one name, attend by Seesaw. See docs/engines.md.
"""

from __future__ import annotations

import os
from typing import Any

NAME = "seesaw"
TESTED = ("0.5.16", "0.5.23")
"""Versions of SGLang whose interface the tests compare with."""

_SPARSE = "dsa"
"""The name that SGLang gives every model with sparse attention."""
_PREFILL = "triton"
"""What computes prompts where `--attention-backend seesaw` is all that is said."""


def register() -> None:
    """Registers the backend under its name. SGLang calls it in every process; any number of times.

    Raises:
        ValueError: SEESAW_SGLANG_REPLACE names no backend of SGLang.
    """
    from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS
    from sglang.srt.server_args import ATTENTION_BACKEND_CHOICES, add_attention_backend_choices

    if NAME not in ATTENTION_BACKEND_CHOICES:
        add_attention_backend_choices([NAME])
    prefill = os.environ.get("SEESAW_SGLANG_PREFILL", _PREFILL)
    ATTENTION_BACKENDS[NAME] = _Creator(lambda: ATTENTION_BACKENDS[prefill])
    replaced = os.environ.get("SEESAW_SGLANG_REPLACE")
    if replaced:
        known = ATTENTION_BACKENDS.get(replaced)
        if known is None or replaced == NAME:
            raise ValueError(
                f"seesaw.sglang: SEESAW_SGLANG_REPLACE = {replaced}, allowed: "
                f"{', '.join(sorted(set(ATTENTION_BACKENDS) - {NAME}))}. Unset it, and choose "
                "--decode-attention-backend seesaw."
            )
        if replaced == _SPARSE:
            ATTENTION_BACKENDS[replaced] = _make_sparse
        elif not isinstance(known, _Creator):
            ATTENTION_BACKENDS[replaced] = _Creator(lambda: known)


class _Creator:
    """What SGLang calls with its model runner."""

    def __init__(self, prefill: Any) -> None:
        self._prefill = prefill  # looked up late: plugins may register after this one

    def __call__(self, runner: Any) -> Any:
        from seesaw.sglang.backend import SeesawAttnBackend

        if not runner.use_mla_backend:
            raise ValueError(
                "seesaw.sglang: a model without MLA, allowed: models with MLA. Choose another "
                "--attention-backend."
            )
        config = getattr(runner.model_config, "hf_config", None)
        if getattr(config, "index_topk", None) is not None:
            raise ValueError(
                "seesaw.sglang: a model with sparse attention, allowed: by SGLang's name `dsa`. "
                "Leave --attention-backend out, and set SEESAW_SGLANG_REPLACE=dsa."
            )
        return SeesawAttnBackend(runner, self._prefill())


def _make_sparse(runner: Any) -> Any:
    from seesaw.sglang.sparse import SeesawSparseAttnBackend

    return SeesawSparseAttnBackend(runner)
