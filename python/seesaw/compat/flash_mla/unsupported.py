"""What FlashMLA has and Seesaw does not yet: refused by name, before anything runs."""

from __future__ import annotations

from typing import Any, NoReturn


def refuse(where: str, arrived: str, remedy: str) -> NoReturn:
    raise NotImplementedError(
        f"{where}: {arrived}, allowed: dense decoding over a bfloat16, float16 or float32 cache, "
        "sparse decoding and prefill. "
        f"{remedy}"
    )


def flash_attn_varlen_func(*arguments: Any, **keywords: Any) -> NoReturn:
    """Dense prefill over expanded heads: not supported."""
    refuse("flash_attn_varlen_func", "a dense prefill", "Use flash_attn's or flash_mla's for it.")


def flash_attn_varlen_qkvpacked_func(*arguments: Any, **keywords: Any) -> NoReturn:
    """Dense prefill over expanded heads: not supported."""
    refuse(
        "flash_attn_varlen_qkvpacked_func",
        "a dense prefill",
        "Use flash_attn's or flash_mla's for it.",
    )


def flash_attn_varlen_kvpacked_func(*arguments: Any, **keywords: Any) -> NoReturn:
    """Dense prefill over expanded heads: not supported."""
    refuse(
        "flash_attn_varlen_kvpacked_func",
        "a dense prefill",
        "Use flash_attn's or flash_mla's for it.",
    )
