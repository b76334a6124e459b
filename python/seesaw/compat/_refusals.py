"""How engines' arguments that Seesaw has no answer to are refused: by name, before anything
runs."""

from __future__ import annotations

from typing import Any, NoReturn

from seesaw._arrays import library_of


def not_covered(where: str, arrived: str, allowed: str, remedy: str) -> NoReturn:
    raise NotImplementedError(f"{where}: {arrived}, allowed: {allowed}. {remedy}")


def wrong(where: str, arrived: str, allowed: str, remedy: str) -> NoReturn:
    raise ValueError(f"{where}: {arrived}, allowed: {allowed}. {remedy}")


def require_torch(where: str, name: str, tensor: Any) -> None:
    """Engines' tensors are PyTorch's."""
    if library_of(tensor, name, where).name != "torch":
        raise TypeError(
            f"{where}: {name} of type {type(tensor).__name__}, allowed: a torch.Tensor. "
            "Convert it, or call the package's own function."
        )


def require_rank(where: str, name: str, tensor: Any, shape: str) -> None:
    rank = shape.count(",") + 1
    if len(tensor.shape) != rank:
        wrong(where, f"{name} has rank {len(tensor.shape)}", shape, "Reshape the tensor.")
