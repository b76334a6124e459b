"""The study notes' claims (claims.json), each held against its formula and against what a
comparison measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from seesaw.report._results import Result, Row, measured

Answer = Dict[str, Any]
"""A claim's `source`, `claim` and `printed`, with `formula`, `counted`, `measured_mha`,
`measured_plain`, `measured_chunked` (numbers or None) and `verdict`."""

NOTES: Dict[str, Any] = json.loads((Path(__file__).parent / "claims.json").read_text("utf-8"))

ROWS = {
    "measured_mha": "mha",
    "measured_plain": "traditional_mla",
    "measured_chunked": "chunked_mla",
}


class Formula:
    """The notes' cost model as it stands there, of a shape (batch, tokens, heads, head_dim,
    latent): it counts one product of attention, and no projection of the layer."""

    def __init__(self, batch: int, tokens: int, heads: int, head_dim: int, latent: int) -> None:
        b, n, h, d = batch, tokens, heads, head_dim
        mha = b * 2 * h * n * n * d
        ideal = b * (2 * n * n * latent + 2 * h * n * d)
        overhead = b * (3 * h * n * d * latent + h * n * latent * d)
        self.ideal_speed_up = mha / ideal
        self.speed_up = mha / (ideal + overhead)
        self.overhead_ratio = overhead / ideal
        self.mha_gb = b * h * n * n * 4 / 1e9


def formula_of(row: Row) -> Formula:
    return Formula(row["b"], row["len"], row["heads"], row["head_dim"], row["latent"])


QUANTITIES: Dict[str, Callable[[Row, float], Optional[float]]] = {
    "speed_up": lambda row, read: row["speed_up"],
    "efficiency": lambda row, read: row["speed_up"] and row["speed_up"] / row["heads"],
    "peak_gb": lambda row, read: row["peak_bytes"] and row["peak_bytes"] / 1e9,
    "ms": lambda row, read: row["us"] / 1e3,
    "gbps": lambda row, read: row["gbps"],
    "read_fraction": lambda row, read: row["gbps"] / read,
    "tflops": lambda row, read: row["gflops"] / 1e3,
}
"""By the names in claims.json: of a measured row and the device's read rate; None if unknown."""

WITH_MHA = ("peak_gb", "gbps", "read_fraction", "counter")
"""What the notes say of traditional MLA and this report also gives of multi-head attention."""


def percent_of(metrics: Dict[str, Any], counter: str) -> Optional[float]:
    """A hardware counter of a call: its first metric that was read, or a sum of shares."""
    [(key, names)] = NOTES["counters"][counter].items()
    values = [metrics.get(key, {})[name] for name in names if name in metrics.get(key, {})]
    if not values:
        return None
    return values[0] if key == "metrics" else sum(values)


class Claims:
    """Answers to the claims, from a comparison."""

    def __init__(self, result: Result) -> None:
        self.rows: List[Row] = result["claim_rows"] + result["rows"]
        self.dtype = result["rows"][0]["dtype"]  # the first of --dtype: of the claims' shapes too
        self.read_gbps = result["roofs"]["read_gbps"]
        self.is_gpu = not result["place"].startswith("cpu")
        layers = (result["counters"] or {}).get("layers", [])
        self.counters = {layer["system"]: layer["whole_call"] for layer in layers}

    def row(self, claim: Dict[str, Any], system: str) -> Optional[Row]:
        """Of the claim's shape, measured or only predicted."""
        batch, tokens, heads, head_dim, latent = NOTES["shapes"][claim["shape"]]
        wanted = {
            "phase": "prefill",
            "b": batch,
            "len": tokens,
            "heads": heads,
            "head_dim": head_dim,
            "d_model": heads * head_dim,
            "dtype": self.dtype,
            "causal": False,
            "bias": True,
            "system": system,
            "latent": 0 if system == "mha" else latent,
        }
        return next((row for row in self.rows if wanted.items() <= row.items()), None)

    def value(self, claim: Dict[str, Any], system: str) -> Optional[float]:
        against = claim["against"].replace("mha_ms", "ms")
        if against == "counter":
            return percent_of(self.counters.get(system, {}), claim["counter"])
        row = self.row(claim, system)
        return QUANTITIES[against](row, self.read_gbps) if row and measured(row) else None

    def best_decode(self, quantity: str) -> Optional[float]:
        """The best that the decode kernel did anywhere."""
        values = [
            QUANTITIES[quantity](row, self.read_gbps) or 0
            for row in self.rows
            if self.is_gpu and measured(row) and row["system"] == "dense_decode"
        ]
        return max(values, default=None)

    def counted(self, claim: Dict[str, Any]) -> Optional[float]:
        """Operations of whole layers, as the library counts them."""
        pair = [self.row(claim, system) for system in ("mha", "traditional_mla")]
        if pair[0] is None or pair[1] is None:
            return None
        operations = [row["predicted"]["operations"] for row in pair if row]
        return operations[0] / operations[1]

    def answer(self, claim: Dict[str, Any]) -> Answer:
        answer: Answer = {key: claim[key] for key in ("source", "claim", "printed")}
        answer.update(dict.fromkeys(("formula", "counted", *ROWS)))
        against = claim["against"]
        if against.startswith("decode_"):
            answer["measured_plain"] = self.best_decode(against[len("decode_") :])
        elif against == "mha_ms":
            answer["measured_mha"] = self.value(claim, "mha")
        elif against in QUANTITIES or against == "counter":
            for key, system in ROWS.items():
                if system != "mha" or against in WITH_MHA:
                    answer[key] = self.value(claim, system)
        formula = {"speed_up": "speed_up", "peak_gb": "mha_gb"}.get(against)
        if against.startswith("formula "):
            formula = against[len("formula ") :]
        if formula:
            answer["formula"] = getattr(Formula(*NOTES["shapes"][claim["shape"]]), formula)
            if formula.endswith("speed_up"):
                answer["counted"] = self.counted(claim)
        answer["verdict"] = self.verdict(claim, answer)
        return answer

    def verdict(self, claim: Dict[str, Any], answer: Answer) -> str:
        against = claim["against"]
        mha, plain, chunked = (answer[key] for key in ROWS)
        if against.startswith("formula "):
            same = compared(claim, answer["formula"]) == "as claimed"
            gives = "this" if same else f"{answer['formula']:.3g}, not this"
            count = answer["counted"]
            layer = f"; a whole layer's count gives {count:.3g}" if count else ""
            return f"the notes' formula gives {gives}{layer}"
        if against == "peak_gb":
            times = claim["range"][1] / answer["formula"]
            text = f"H N^2 4 bytes is {answer['formula']:.3g} GB, "
            text += f"the printed figure {times:.3g} times it"
            if mha and plain:
                text += f"; measured: multi-head attention {compared(claim, mha)}, "
                text += f"traditional MLA {compared(claim, plain)}"
            return text
        if against == "elsewhere":
            return "not measured here: needs another device or program"
        if mha is None and plain is None and chunked is None:
            if against == "counter":
                return "not measured here: needs a GPU's hardware counters (--counters)"
            needs_gpu = against.startswith("decode_") and not self.is_gpu
            return "not measured: needs a GPU" if needs_gpu else "not measured in this run"
        if against == "mha_ms":
            return "multi-head attention here: " + compared(claim, mha)
        named = {"plain: " if chunked is not None else "": plain, "chunked: ": chunked}
        known = {name: value for name, value in named.items() if value is not None}
        return "; ".join(name + compared(claim, value) for name, value in known.items())


def compared(claim: Dict[str, Any], value: float) -> str:
    """ "as claimed", or how far off."""
    low, high = claim["range"]
    if low * (1 - NOTES["same_within"]) <= value <= high * (1 + NOTES["same_within"]):
        return "as claimed"
    return f"{value / (high if value > high else low):.3g} times the printed value"


def answers(result: Result) -> List[Answer]:
    """Every claim with what this comparison says to it."""
    claims = Claims(result)
    return [claims.answer(claim) for claim in NOTES["claims"]]
