"""Whole attention layers to compare with, on NumPy, PyTorch and CuPy arrays.

    layer = seesaw.baselines.MultiHeadAttention(d_model=512, num_heads=8)
    layer.load_state_dict(module.state_dict())
    out = layer(x, causal=True)

Multi-head attention, traditional MLA in its plain and its memory-efficient form, and DeepSeek's
MLA, expanded and absorbed. Matrix products are oneDNN's on the CPU and cuBLASLt's on a GPU. They
are in a native library of their own, which not every installation has: importing this module where
it is missing raises ImportError and says what to install. See docs/python.md.
"""

from seesaw.baselines._attention import MemoryEfficientMLA, MultiHeadAttention, TraditionalMLA
from seesaw.baselines._deepseek import DeepSeekMLA
from seesaw.baselines._layer import Cost, Layer, Plan
from seesaw.baselines._native import require_installed as _require_installed

_require_installed()

__all__ = [
    "Cost",
    "DeepSeekMLA",
    "Layer",
    "MemoryEfficientMLA",
    "MultiHeadAttention",
    "Plan",
    "TraditionalMLA",
]
