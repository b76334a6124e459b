"""vLLM's cache operations over Seesaw: the functions of vllm._custom_ops that touch an MLA cache,
with its names and arguments, for PyTorch tensors on GPUs and on the CPU.

    from seesaw.compat import vllm_ops as ops

kv_cache_dtype is "auto" (the dtype of kv_c), "fp8" and "fp8_e4m3" (576 bytes a token and one scale
of the whole cache), or "fp8_ds_mla" (656 bytes a token, DeepSeek-V3.2 and GLM-5; scales are
greatest magnitude / 448, as vLLM writes them). As in vLLM, slot_mapping says how many tokens there
are: the other tensors may be longer. Everything is asynchronous on the current stream and
capturable in a CUDA graph. What is not covered is refused by name.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from seesaw._append import append
from seesaw._gather import gather
from seesaw._merge_states import merge_states
from seesaw.compat._refusals import not_covered, require_rank, require_torch, wrong

__all__ = [
    "concat_and_cache_mla",
    "concat_and_cache_mla_rope_fused",
    "cp_gather_and_upconvert_fp8_kv_cache",
    "cp_gather_cache",
    "cp_gather_indexer_k_quant_cache",
    "gather_and_maybe_dequant_cache",
    "indexer_k_quant_and_cache",
    "merge_attn_states",
]

_DTYPES = '"auto", "fp8", "fp8_e4m3", "fp8_ds_mla"'
_INDEXER_COLUMNS = 128


def _format_of(where: str, kv_cache_dtype: str, scale: Any) -> Dict[str, Any]:
    """The settings of `seesaw.append` for a kv_cache_dtype."""
    if kv_cache_dtype == "auto":
        return {}
    if kv_cache_dtype in ("fp8", "fp8_e4m3"):
        return {"kv_format": "fp8_576", "kv_scale": scale}
    if kv_cache_dtype == "fp8_ds_mla":
        return {"kv_format": "fp8_656"}
    not_covered(where, f"kv_cache_dtype = {kv_cache_dtype!r}", _DTYPES, "Choose one of them.")


def concat_and_cache_mla(
    kv_c: Any,
    k_pe: Any,
    kv_cache: Any,
    slot_mapping: Any,
    kv_cache_dtype: str,
    scale: Any,
    skip_scale: bool = False,
) -> None:
    """Writes (kv_c [t, 512], k_pe [t, 64]) to the slots [n] int64, n <= t, of kv_cache [num_pages,
    page_size, 576 or 656 bytes]; slot -1 is skipped. scale: [1] float32, of "fp8" alone; with
    skip_scale (vLLM 0.33) it counts as 1 and is not read."""
    where = "concat_and_cache_mla"
    require_torch(where, "kv_c", kv_c)
    settings = _format_of(where, kv_cache_dtype, None if skip_scale else scale)
    tokens = slot_mapping.shape[0]
    append(kv_c[:tokens], k_pe[:tokens], slot_mapping, kv_cache, scales="exact", **settings)


def concat_and_cache_mla_rope_fused(
    positions: Any,
    q_pe: Any,
    k_pe: Any,
    kv_c: Any,
    cos_sin_cache: Any,
    is_neox: bool,
    slot_mapping: Any,
    kv_cache: Any,
    kv_cache_dtype: str,
    kv_cache_scale: Any,
) -> None:
    """Rotates q_pe [t, h, 64] and k_pe [t, 64] in place by cos_sin_cache[positions] and writes as
    `concat_and_cache_mla` does. Tokens whose slot is -1 are rotated, too. Two launches: the second
    rotates k_pe."""
    where = "concat_and_cache_mla_rope_fused"
    require_torch(where, "q_pe", q_pe)
    require_rank(where, "q_pe", q_pe, "[t, h, d_rope]")
    require_rank(where, "k_pe", k_pe, "[t, d_rope]")
    settings = _format_of(where, kv_cache_dtype, kv_cache_scale)
    tokens = slot_mapping.shape[0]
    rotation = {
        "rotary": "half_split" if is_neox else "interleaved",
        "positions": positions[:tokens],
        "cos_sin": cos_sin_cache,
    }
    kv_c, k_pe = kv_c[:tokens], k_pe[:tokens]
    common = {"scales": "exact", **settings, **rotation}
    append(kv_c, k_pe, slot_mapping, kv_cache, q_rope=q_pe[:tokens], **common)
    nowhere = slot_mapping.new_full((tokens,), -1)
    append(kv_c, k_pe.clone(), nowhere, kv_cache, q_rope=k_pe.unsqueeze(1), **common)


def gather_and_maybe_dequant_cache(
    src_cache: Any,
    dst: Any,
    block_table: Any,
    cu_seq_lens: Any,
    token_to_seq: Any,
    num_tokens: int,
    kv_cache_dtype: str,
    scale: Any,
    seq_starts: Optional[Any] = None,
) -> None:
    """Gathers the first num_tokens rows of dst [n, 576] from the pages of each sequence, as
    numbers. token_to_seq is not read: cu_seq_lens [b + 1] says the same. seq_starts [b]: first
    tokens."""
    where = "gather_and_maybe_dequant_cache"
    require_torch(where, "src_cache", src_cache)
    if kv_cache_dtype == "fp8_ds_mla":
        not_covered(
            where,
            'kv_cache_dtype = "fp8_ds_mla"',
            '"auto", "fp8", "fp8_e4m3", as in vLLM, whose own does not read 656 bytes a token',
            "Call cp_gather_and_upconvert_fp8_kv_cache.",
        )
    settings = _format_of(where, kv_cache_dtype, scale)
    batch = cu_seq_lens.shape[0] - 1
    gather(
        src_cache,
        block_table=block_table[:batch],
        cu_seq_lens=cu_seq_lens,
        starts=seq_starts,
        out=dst[:num_tokens],
        **settings,
    )


def cp_gather_cache(
    src_cache: Any,
    dst: Any,
    block_table: Any,
    cu_seq_lens: Any,
    batch_size: int,
    seq_starts: Optional[Any] = None,
) -> None:
    """Gathers rows as they are stored: src_cache [num_pages, page_size, columns] of a float dtype,
    or of 656 or 576 bytes a token, into dst [n, columns] of the same."""
    where = "cp_gather_cache"
    require_torch(where, "src_cache", src_cache)
    if dst.dtype != src_cache.dtype:
        wrong(where, f"dst of {dst.dtype}", f"{src_cache.dtype}, that of src_cache", "Convert it.")
    kv_format = None
    if src_cache.dtype.itemsize == 1:
        by_bytes = {656: "fp8_656", 576: "fp8_576"}
        columns = src_cache.shape[-1]
        if columns not in by_bytes:
            not_covered(
                where,
                f"src_cache of {columns} bytes a token",
                "656, 576",
                "Call seesaw.gather with the cache's format.",
            )
        kv_format = by_bytes[columns]
    gather(
        src_cache,
        block_table=block_table[:batch_size],
        cu_seq_lens=cu_seq_lens[: batch_size + 1],
        starts=None if seq_starts is None else seq_starts[:batch_size],
        kv_format=kv_format,
        dtype="raw",
        out=dst,
    )


def cp_gather_and_upconvert_fp8_kv_cache(
    src_cache: Any, dst: Any, block_table: Any, *arguments: Any, **named: Any
) -> None:
    """Gathers tokens of 656 bytes as numbers into dst [n, 576] bfloat16. Both of vLLM's forms:

        (src_cache, dst, block_table, seq_lens, workspace_starts, batch_size)
        (src_cache, dst, block_table, workspace_starts, batch_size, seq_starts=None)

    workspace_starts: first row of each sequence, one sequence behind the other as vLLM has them; of
    b + 1 numbers the last is where the last sequence ends; of b, it ends with dst in the current
    form, and by seq_lens in the older one.
    """
    where = "cp_gather_and_upconvert_fp8_kv_cache"
    require_torch(where, "src_cache", src_cache)
    seq_lens, starts, batch, seq_starts = _read_upconvert(where, arguments, named)
    if starts.shape[0] > batch:
        cu_seq_lens = starts[: batch + 1]
    elif batch == 0:
        return
    else:
        import torch

        end = starts.new_full((1,), dst.shape[0])
        if seq_lens is not None:
            end = starts[batch - 1 : batch] + seq_lens[batch - 1 : batch]
        cu_seq_lens = torch.cat([starts[:batch], end])
    gather(
        src_cache,
        block_table=block_table[:batch],
        cu_seq_lens=cu_seq_lens,
        starts=None if seq_starts is None else seq_starts[:batch],
        kv_format="fp8_656",
        out=dst,
    )


def _read_upconvert(
    where: str, arguments: Tuple[Any, ...], named: Dict[str, Any]
) -> Tuple[Optional[Any], Any, int, Optional[Any]]:
    """(seq_lens, workspace_starts, batch_size, seq_starts)"""
    older = "seq_lens" in named or (len(arguments) > 1 and hasattr(arguments[1], "shape"))
    older = older or (len(arguments) == 1 and "workspace_starts" in named)
    names = (
        ("seq_lens", "workspace_starts", "batch_size")
        if older
        else ("workspace_starts", "batch_size", "seq_starts")
    )
    given = dict(zip(names, arguments))
    if len(arguments) > len(names) or set(given) & set(named) or set(named) - set(names):
        raise TypeError(f"{where}() takes src_cache, dst, block_table, {', '.join(names)}")
    given.update(named)
    missing = [name for name in names if name not in given and name != "seq_starts"]
    if missing:
        raise TypeError(f"{where}() is missing {', '.join(missing)}")
    return (
        given.get("seq_lens"),
        given["workspace_starts"],
        int(given["batch_size"]),
        given.get("seq_starts"),
    )


def indexer_k_quant_and_cache(
    k: Any, kv_cache: Any, slot_mapping: Any, quant_block_size: int, scale_fmt: Optional[str]
) -> None:
    """Writes the lightning indexer's keys k [t, 128] to kv_cache [num_pages, page_size, 132] uint8.

    scale_fmt: "ue8m0" rounds scales up to powers of two, anything else leaves them greatest
    magnitude / 448. vLLM takes 1e-4 for a smaller magnitude; here a smaller one has a scale of its
    own, which every reader reads."""
    where = "indexer_k_quant_and_cache"
    require_torch(where, "k", k)
    if quant_block_size != _INDEXER_COLUMNS or k.shape[-1] != _INDEXER_COLUMNS:
        not_covered(
            where,
            f"quant_block_size = {quant_block_size} of {k.shape[-1]} columns",
            "128 of 128: one scale a token",
            "Quantise other widths by vLLM's own.",
        )
    rule = "power_of_two" if scale_fmt == "ue8m0" else "exact"
    tokens = slot_mapping.shape[0]
    append(k[:tokens], None, slot_mapping, kv_cache, kv_format="indexer_132", scales=rule)


def cp_gather_indexer_k_quant_cache(
    kv_cache: Any, dst_k: Any, dst_scale: Any, block_table: Any, cu_seq_lens: Any
) -> None:
    """Gathers the indexer's keys as they are stored: dst_k [n, 128] of bytes or float8_e4m3fn, and
    dst_scale [n, 4] uint8 or [n, 1] float32. Needs memory for n records meanwhile."""
    import torch

    where = "cp_gather_indexer_k_quant_cache"
    require_torch(where, "kv_cache", kv_cache)
    keys, scales = dst_k.view(torch.uint8), dst_scale.view(torch.uint8)
    if keys.shape[1:] != (_INDEXER_COLUMNS,) or scales.shape[1:] != (4,):
        wrong(
            where,
            f"dst_k of {list(dst_k.shape)}, dst_scale of {list(dst_scale.shape)} {dst_scale.dtype}",
            "[n, 128] of bytes, and [n, 4] of bytes or [n, 1] of float32",
            "Reshape them.",
        )
    records = torch.cat([keys, scales], dim=1)  # rows behind the last sequence stay as they are
    batch = cu_seq_lens.shape[0] - 1
    gather(
        kv_cache,
        block_table=block_table[:batch],
        cu_seq_lens=cu_seq_lens,
        kv_format="indexer_132",
        dtype="raw",
        out=records,
    )
    keys.copy_(records[:, :_INDEXER_COLUMNS])
    scales.copy_(records[:, _INDEXER_COLUMNS:])


def merge_attn_states(
    output: Any,
    prefix_output: Any,
    prefix_lse: Any,
    suffix_output: Any,
    suffix_lse: Any,
    output_lse: Optional[Any] = None,
    prefill_tokens_with_context: Optional[int] = None,
    output_scale: Optional[Any] = None,
) -> None:
    """Merges two partial results [t, h, d] with their LSEs [h, t], natural; an infinite LSE of
    either sign attended nothing. Tokens from prefill_tokens_with_context on have a suffix alone,
    which is copied."""
    where = "merge_attn_states"
    require_torch(where, "output", output)
    if output_scale is not None:
        not_covered(
            where,
            "output_scale given",
            "None: an output of the inputs' dtype",
            "Merge first, then quantise.",
        )
    tokens = output.shape[0]
    merged = tokens if prefill_tokens_with_context is None else int(prefill_tokens_with_context)
    if not 0 <= merged <= tokens:
        wrong(
            where,
            f"prefill_tokens_with_context = {merged}",
            f"0 to {tokens}, the tokens of output",
            "Correct its value.",
        )
    if merged > 0:
        merge_states(
            [prefix_output[:merged], suffix_output[:merged]],
            [prefix_lse[:, :merged], suffix_lse[:, :merged]],
            lse_layout="ht",
            out=output[:merged],
            lse=None if output_lse is None else output_lse[:, :merged],
        )
    if merged < tokens:
        output[merged:].copy_(suffix_output[merged:])
        if output_lse is not None:
            output_lse[:, merged:].copy_(suffix_lse[:, merged:])
