"""A library that decodes MLA, behind one interface: `prepare(inputs)` does what an engine does once
per step, and returns the call that is repeated for every layer.

A call returns (out, lse): out [b, s_q, h_q, d_v], lse [b, h_q, s_q] as natural log, or None.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Callable, Optional, Tuple

import torch
from inputs import Inputs

Result = Tuple[torch.Tensor, Optional[torch.Tensor]]
Call = Callable[[], Result]


class Backend:
    """`why_not` is empty where the library can be used."""

    name = ""
    module = ""
    needs_cuda = True

    def why_not(self, inputs: Inputs) -> str:
        if self.needs_cuda and inputs.device.type != "cuda":
            return "runs on GPUs only"
        top = self.module.partition(".")[0]
        if importlib.util.find_spec(top) is None:
            return f"{top} is not installed"
        try:
            importlib.import_module(self.module)
        except Exception as error:  # a library built for another driver, CUDA or PyTorch
            return f"import {self.module}: {type(error).__name__}: {error}"
        return ""

    def prepare(self, inputs: Inputs) -> Call:
        raise NotImplementedError

    def kernel(self) -> str:
        """What ran, as far as the library tells."""
        return self.name
