"""The result as a table."""

from __future__ import annotations

from typing import Any, Dict, List

_COLUMNS = (
    ("attention", "name", "", 0),
    ("tokens/s", "tokens_per_s", "", 1),
    ("decode ms", "decode_ms", "p90", 2),
    ("prefill ms", "prefill_ms", "p90", 2),
    ("first token ms", "first_token_ms", "p90", 1),
    ("request ms", "request_ms", "p90", 1),
)


def text_of(report: Dict[str, Any]) -> str:
    """Medians, and 90th percentiles in brackets."""
    lines = [_headline(report), ""]
    ran = [result for result in report["results"] if result["figures"]]
    if ran:
        heads = [head for head, *_ in _COLUMNS] + ["KV bytes/token", "KV MB", "same tokens"]
        rows = [_row(result) for result in ran]
        widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
        for row in [heads, *rows]:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            lines.append("  ".join(cells).rstrip())
    with_layers = [result for result in ran if result.get("layers")]
    if with_layers:
        lines += ["", "A layer, median over layers (ms): attention + rest"]
        for result in with_layers:
            middle = [_middle(result["layers"], name) for name in _LAYER_PARTS]
            lines.append(
                f"{result['attention']:<{widths[0]}}  decode {middle[0]:.3f} + {middle[1]:.3f}, "
                f"prefill {middle[2]:.2f} + {middle[3]:.2f}"
            )
    for result in report["results"]:
        if result["why_not"]:
            lines += ["", f"{result['attention']} did not run: {result['why_not']}"]
    if report["stopped_early"]:
        lines += ["", "Stopped early: rounds that had ended are above."]
    return "\n".join(lines) + "\n"


_LAYER_PARTS = (
    "decode_attention_ms",
    "decode_rest_ms",
    "prefill_attention_ms",
    "prefill_rest_ms",
)


def _headline(report: Dict[str, Any]) -> str:
    settings, config = report["settings"], report["config"]
    requests = report["requests"]
    prompt = sum(request["prompt_tokens"] for request in requests)
    new = sum(request["new_tokens"] for request in requests)
    return (
        f"{settings['model']}: {config['num_hidden_layers']} layers, "
        f"{config['num_attention_heads']} heads, {report['dtype']}, on {report['device']}; "
        f"{report['engine']} {report['versions'][report['engine']]}\n"
        f"{len(requests)} requests, {prompt:,} tokens of prompts, {new:,} new ones, at most "
        f"{settings['batch']} at once, {settings['rounds']} rounds; median (90th percentile)"
    )


def _row(result: Dict[str, Any]) -> List[str]:
    cells = [result["attention"]]
    for _, name, more, digits in _COLUMNS[1:]:
        value = result["figures"][name]
        if value is None:
            cells.append("-")
            continue
        text = f"{value['median']:,.{digits}f}"
        cells.append(f"{text} ({value[more]:,.{digits}f})" if more else text)
    figures = result["figures"]
    if figures["kv_bytes"]:
        cells += [f"{figures['kv_bytes_per_token']:,.0f}", f"{figures['kv_bytes'] / 1e6:,.2f}"]
    else:
        cells += ["-", "-"]
    return [*cells, f"{100 * result['same_tokens']:.0f} %"]


def _middle(layers: List[Dict[str, Any]], name: str) -> float:
    values = sorted(layer[name] for layer in layers)
    return float(values[len(values) // 2])
