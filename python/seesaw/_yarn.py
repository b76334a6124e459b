"""What a model's configuration says of its rotary embedding and of the scale of its scores."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, Mapping, Optional

_NUMBERS = ("factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")
_KNOWN = (*_NUMBERS, "original_max_position_embeddings", "type", "rope_type", "rope_theta")
_TYPES = ("yarn", "deepseek_yarn")


@dataclass(frozen=True)
class RopeScaling:
    """YaRN (arXiv:2309.00071) as `rope_scaling` of the published configurations has it. 0: not
    given; factor 0: no rope scaling."""

    factor: float = 0.0
    original_max_position_embeddings: int = 0
    beta_fast: float = 0.0
    beta_slow: float = 0.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0

    @classmethod
    def of(cls, rope_scaling: Optional[Mapping[str, Any]], where: str) -> RopeScaling:
        """Of a configuration's `rope_scaling`; refuses what is not computed here."""
        if rope_scaling is None:
            return cls()
        if not isinstance(rope_scaling, Mapping):
            raise TypeError(
                f"{where}: rope_scaling of type {type(rope_scaling).__name__}, allowed: a dict or "
                "None. Pass rope_scaling of the model's configuration."
            )
        kind = rope_scaling.get("rope_type", rope_scaling.get("type"))
        if kind == "default":
            return cls()
        if kind not in _TYPES:
            raise ValueError(
                f'{where}: rope_scaling of type {kind!r}, allowed: "yarn". '
                "Use a model with YaRN, or without rope scaling."
            )
        for name, value in rope_scaling.items():
            if name not in _KNOWN and value is not None:
                raise ValueError(
                    f"{where}: rope_scaling has {name} = {value!r}, allowed: "
                    f"{', '.join(_KNOWN)}. It asks for what is not computed here: leave it out if "
                    "the model does."
                )
        given = {"mscale": 1.0, "mscale_all_dim": 0.0, "beta_fast": 32.0, "beta_slow": 1.0}
        given.update({name: value for name, value in rope_scaling.items() if value is not None})
        numbers = {name: _number(where, name, given.get(name)) for name in _NUMBERS}
        for name in ("factor", "beta_fast", "beta_slow", "mscale"):
            if not 0 < numbers[name] < float("inf"):
                raise ValueError(
                    f"{where}: rope_scaling has {name} = {numbers[name]}, allowed: a positive "
                    "number. Take it from the model's configuration."
                )
        positions = _number(
            where,
            "original_max_position_embeddings",
            given.get("original_max_position_embeddings"),
        )
        if not 1 <= positions < 2**30 or positions != int(positions):
            raise ValueError(
                f"{where}: rope_scaling has original_max_position_embeddings = {positions}, "
                "allowed: 1 to 2^30. Take it from the model's configuration."
            )
        return cls(original_max_position_embeddings=int(positions), **numbers)


def _number(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{where}: rope_scaling has {name} = {value!r}, allowed: a number. "
            "Take it from the model's configuration."
        )
    return float(value)


def from_config(config: Any, name: str) -> Any:
    """An entry of a configuration: a dict, or an object with attributes. None: not there."""
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def rope_of(config: Any) -> Optional[Mapping[str, Any]]:
    """`rope_scaling` of a configuration, which newer versions of Transformers call
    `rope_parameters`."""
    found = from_config(config, "rope_scaling")
    return from_config(config, "rope_parameters") if found is None else found


def softmax_scale(config: Any) -> float:
    """The `scale` of a model with MLA, from its configuration.

        (qk_nope_head_dim + qk_rope_head_dim) ** -0.5 * m ** 2
        m = 0.1 * mscale_all_dim * ln(factor) + 1, with YaRN and a factor above 1; else 1

    The width is that of a head before absorption, so 192 in DeepSeek's models, not the 576 of the
    cache. (YaRN: arXiv:2309.00071, section 3.4; the weight mscale_all_dim is of DeepSeek's
    configurations.)

    Args:
        config: Of the model: the dict of its config.json, or a configuration of Transformers.

    Returns:
        A float.

    Raises:
        ValueError, TypeError: A size is missing, or rope_scaling is not YaRN.
    """
    width = 0
    for name in ("qk_nope_head_dim", "qk_rope_head_dim"):
        size = from_config(config, name)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 2**30:
            raise ValueError(
                f"softmax_scale: {name} = {size!r} in the configuration, allowed: a number of "
                "columns. Pass the configuration of a model with MLA."
            )
        width += size
    if width == 0:
        raise ValueError(
            "softmax_scale: heads of 0 columns in the configuration, allowed: 1 or more. "
            "Pass the configuration of a model with MLA."
        )
    yarn = RopeScaling.of(rope_of(config), "softmax_scale")
    m = 0.1 * yarn.mscale_all_dim * log(yarn.factor) + 1 if yarn.factor > 1 else 1.0
    return width**-0.5 * m * m
