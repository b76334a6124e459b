"""The model: a configuration's, its weights random numbers of a seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Optional

from seesaw.serve_bench._requests import Refusal

PRESETS = Path(__file__).with_name("presets.json")
_NOT_OURS = ("auto_map", "quantization_config", "architectures", "transformers_version")
"""Entries of a published config.json that tell of its checkpoint, not of the model's shape."""


def presets() -> Dict[str, Dict[str, Any]]:
    """Configurations by name: what decides the shapes of published models, and a small one."""
    found: Dict[str, Dict[str, Any]] = json.loads(PRESETS.read_text(encoding="utf-8"))
    return found


def read_config(model: str, layers: Optional[int] = None) -> Dict[str, Any]:
    """Of a preset's name, a config.json or a folder that has one; its first layers alone where
    `layers` says so.

    Raises:
        Refusal: There is no such file, or the model has no MLA.
    """
    known = presets()
    if model in known:
        config = known[model]
    else:
        config = _read_file(Path(model), ", ".join(known))
    if not isinstance(config.get("kv_lora_rank"), int) or "model_type" not in config:
        raise Refusal(
            f"--model: {model} has no kv_lora_rank or no model_type, needed: a configuration of "
            f"a model with MLA. Name another, or one of {', '.join(known)}."
        )
    config = {name: value for name, value in config.items() if name not in _NOT_OURS}
    there = config.get("num_hidden_layers", 0)
    if layers is not None:
        if not 1 <= layers <= there:
            raise Refusal(
                f"--layers = {layers}, allowed: 1 to {there}, the model's. Choose fewer or more."
            )
        config["num_hidden_layers"] = layers
        for name, value in config.items():
            if isinstance(value, list) and len(value) == there:  # an entry a layer
                config[name] = value[:layers]
    return config


def _read_file(path: Path, known: str) -> Dict[str, Any]:
    path = path / "config.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(
            f"--model: {path}: {error.strerror}, needed: a config.json, its folder, or one of "
            f"{known}. Check the name."
        ) from None
    except ValueError as error:
        raise Refusal(
            f"--model: {path}: not JSON ({error}), needed: a model's config.json. Name another."
        ) from None
    if not isinstance(found, dict):
        raise Refusal(f"--model: {path}: no object, needed: a model's config.json. Name another.")
    return found


def transformers_config(config: Dict[str, Any]) -> Any:
    """Transformers' object of a configuration.

    Raises:
        Refusal: It has no such type, or finds an entry malformed.
    """
    from transformers import AutoConfig

    entries = {name: value for name, value in config.items() if name != "model_type"}
    try:
        return AutoConfig.for_model(config["model_type"], **entries)
    except (ValueError, TypeError, KeyError) as error:
        raise Refusal(
            f"--model: Transformers takes no configuration of type {config['model_type']!r} "
            f"({_first_line(error)}), needed: one that it knows. Install a newer one, or choose "
            "another model."
        ) from None


def build(config: Dict[str, Any], dtype: Any, device: Any, seed: int) -> Any:
    """Transformers' model, for inference, on its device."""
    import torch
    from transformers import AutoModelForCausalLM

    made = transformers_config(config)
    made.eos_token_id = None  # as many tokens as a request says
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(made, dtype=dtype)
    model.generation_config.eos_token_id = None
    return model.to(device).eval()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
