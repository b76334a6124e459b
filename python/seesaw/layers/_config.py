"""Sizes of an MLA layer, as a model's configuration has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from seesaw._yarn import RopeScaling, from_config, rope_of, softmax_scale

_WHERE = "DeepSeekMLA"
_SIZES = {
    "d_model": "hidden_size",
    "num_heads": "num_attention_heads",
    "d_latent": "kv_lora_rank",
    "d_nope": "qk_nope_head_dim",
    "d_rope": "qk_rope_head_dim",
    "d_v": "v_head_dim",
}
_LEAST = {"d_nope": 0, "d_rope": 0}


@dataclass(frozen=True)
class MLASizes:
    """Of one layer.

    Attributes:
        d_model: hidden_size. num_heads: num_attention_heads.
        d_q_latent: q_lora_rank; None: the query has one projection.
        d_latent: kv_lora_rank. d_nope: qk_nope_head_dim. d_rope: qk_rope_head_dim.
        d_v: v_head_dim, of a head after up-projection.
        scale: Of the scores, YaRN's factor included.
        norm_epsilon: Of the norms of the latents.
        rope_theta, rope_scaling: Of the rotary embedding.
        interleaved: Whether columns 2i and 2i + 1 turn together, as in the published checkpoints;
            else i and i + d_rope / 2.
        bias: Whether the down-projections and the output have one (attention_bias).
    """

    d_model: int
    num_heads: int
    d_latent: int
    d_nope: int
    d_rope: int
    d_v: int
    scale: float
    d_q_latent: Optional[int] = None
    norm_epsilon: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling = RopeScaling()
    interleaved: bool = True
    bias: bool = False

    @property
    def d_qk(self) -> int:
        """Columns of a cached token."""
        return self.d_latent + self.d_rope

    @classmethod
    def of(cls, config: Any) -> MLASizes:
        """Of a model's configuration: the dict of its config.json, or an object of Transformers.

        Raises:
            ValueError, TypeError: A size is missing or malformed, or rope_scaling is not YaRN.
        """
        sizes = {name: _size(config, name, entry) for name, entry in _SIZES.items()}
        if sizes["d_rope"] % 2:
            raise ValueError(
                f"{_WHERE}: qk_rope_head_dim = {sizes['d_rope']} in the configuration, allowed: an "
                "even number. Pass the configuration of a model with MLA."
            )
        rope = rope_of(config)
        theta = from_config(config, "rope_theta")
        if theta is None and rope is not None:
            theta = rope.get("rope_theta")
        interleaved = from_config(config, "rope_interleave")
        epsilon = from_config(config, "rms_norm_eps")
        return cls(
            **sizes,
            scale=softmax_scale(config),
            d_q_latent=from_config(config, "q_lora_rank") or None,
            norm_epsilon=1e-6 if epsilon is None else float(epsilon),
            rope_theta=10000.0 if theta is None else float(theta),
            rope_scaling=RopeScaling.of(rope, _WHERE),
            interleaved=True if interleaved is None else bool(interleaved),
            bias=bool(from_config(config, "attention_bias")),
        )


def _size(config: Any, name: str, entry: str) -> int:
    value = from_config(config, entry)
    least = _LEAST.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"{_WHERE}: {entry} = {value!r} in the configuration, allowed: {least} or more. "
            "Pass the configuration of a model with MLA."
        )
    return value
