"""The array libraries, a file each, which is imported once an array of its own has been seen."""

from __future__ import annotations

from typing import Optional, Type

from seesaw._arrays import ArrayLibrary


def adapter_of(array_type: type) -> Optional[Type[ArrayLibrary]]:
    """The class for arrays of a type; None: they are of no library known here."""
    for base in array_type.__mro__:
        package = base.__module__.partition(".")[0]
        if package == "numpy":
            from seesaw._adapters.numpy import NumPy

            return NumPy
        if package == "torch":
            from seesaw._adapters.torch import Torch, TorchSubclass, sees_operators

            return TorchSubclass if sees_operators(array_type) else Torch
        if package == "cupy":
            from seesaw._adapters.cupy import CuPy

            return CuPy
        if package in ("jax", "jaxlib"):
            from seesaw._adapters.jax import Jax

            return Jax
    return None
