"""The layers of seesaw.baselines in float64 NumPy, and random problems for them.

Shapes as in their docstrings; `visible` is bool and broadcasts to the scores' shape.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Dict

import numpy as np
import pytest
from cases import numpy_dtype


def import_baselines(device="cpu"):
    """seesaw.baselines with a backend for the device, or skipped tests."""
    baselines = pytest.importorskip(
        "seesaw.baselines", reason="built without the baselines", exc_type=ImportError
    )
    try:
        answers = baselines.MultiHeadAttention(8, 2).supports(1, 1, device=device)
    except ImportError as error:  # a library that it was built with is not on this machine
        pytest.skip(str(error), allow_module_level=True)
    if not any(answer.supported for answer in answers):
        pytest.skip("; ".join(answer.reason for answer in answers), allow_module_level=True)
    return baselines


def linear(weights, name, x):
    y = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    return y if bias is None else y + bias


def attend(q, k, v, scale, visible):
    """softmax(scale q k^T) v over the visible keys; 0 where there are none."""
    scores = np.where(visible, scale * (q @ np.swapaxes(k, -1, -2)), -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials @ v / np.where(total == 0, 1, total)


def split_heads(x, heads):
    """[B, N, H C] -> [B, H, N, C]."""
    return np.swapaxes(x.reshape(*x.shape[:2], heads, -1), 1, 2)


def join_heads(x):
    """[B, H, N, C] -> [B, N, H C]."""
    return np.swapaxes(x, 1, 2).reshape(x.shape[0], x.shape[2], -1)


def mha(weights, x, visible, num_heads, scale=None):
    q, k, v = (split_heads(linear(weights, f"{n}_proj", x), num_heads) for n in "qkv")
    o = attend(q, k, v, scale or q.shape[-1] ** -0.5, visible)
    return linear(weights, "out_proj", join_heads(o))


def traditional_mla(weights, x, visible, scale=None):
    q, k, v = (linear(weights, f"{n}_latent_proj", linear(weights, f"{n}_proj", x)) for n in "qkv")
    o = attend(q, k, v, scale or q.shape[-1] ** -0.5, visible[:, 0])
    return linear(weights, "out_proj", linear(weights, "head_reconstruction", o))


def memory_efficient_mla(weights, x, visible, d_latent, scale=None):
    combined = linear(weights, "combined_proj", x)
    q, k, v = (combined[..., combined.shape[-1] - (3 - i) * d_latent :] for i in range(3))
    q, k = q[..., :d_latent], k[..., :d_latent]
    o = attend(q, k, v, scale or d_latent**-0.5, visible[:, 0])
    return linear(weights, "out_proj", linear(weights, "head_reconstruction", o))


def rms_norm(x, weight, epsilon=1e-6):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon) * weight


def rotate(x, positions, frequencies=None, amplitude=1.0):
    """Adjacent pairs as complex numbers; x [B, H, N, R], positions [B, N], frequencies [R / 2]."""
    if frequencies is None:
        frequencies = 10000.0 ** (-np.arange(0, x.shape[-1], 2) / x.shape[-1])
    angles = positions[:, None, :, None] * frequencies
    turned = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles) * amplitude
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def deepseek_mla(
    weights, x, visible, num_heads, d_latent, d_nope, d_rope, positions, scale=None, rope=()
):
    """Expanded: as the paper writes it. rope: frequencies and amplitude of `rotate`."""
    if "q_a_proj.weight" in weights:
        q = rms_norm(linear(weights, "q_a_proj", x), weights["q_a_layernorm.weight"])
        q = split_heads(linear(weights, "q_b_proj", q), num_heads)
    else:
        q = split_heads(linear(weights, "q_proj", x), num_heads)
    latent = linear(weights, "kv_a_proj_with_mqa", x)
    c = rms_norm(latent[..., :d_latent], weights["kv_a_layernorm.weight"])
    r = rotate(latent[:, None, :, d_latent:], positions, *rope)
    kv = split_heads(linear(weights, "kv_b_proj", c), num_heads)
    q = np.concatenate([q[..., :d_nope], rotate(q[..., d_nope:], positions, *rope)], axis=-1)
    repeated = np.broadcast_to(r, (r.shape[0], num_heads, *r.shape[2:]))
    k = np.concatenate([kv[..., :d_nope], repeated], axis=-1)
    o = attend(q, k, kv[..., d_nope:], scale or (d_nope + d_rope) ** -0.5, visible)
    return linear(weights, "o_proj", join_heads(o))


@dataclass(frozen=True)
class Model:
    """A layer's class, its arguments, and its reference(weights, x, visible, positions)."""

    layer: str
    arguments: Dict[str, Any]
    reference: Callable[..., np.ndarray]
    one_pattern: bool = False
    """Whether all heads share one attention pattern, and one mask."""

    def make(self, baselines, **more):
        """The layer; one thread unless asked for more, as most cases are too small to share."""
        arguments = {"num_threads": 1, **self.arguments, **more}
        return getattr(baselines, self.layer)(**arguments)


D_MODEL, HEADS = 48, 4
DEEPSEEK = dict(d_latent=32, d_nope=16, d_rope=8)


def _deepseek_model(form, d_q_latent):
    return Model(
        "DeepSeekMLA",
        dict(
            d_model=D_MODEL,
            num_heads=HEADS,
            d_q_latent=d_q_latent,
            d_v=20,
            form=form,
            **DEEPSEEK,
        ),
        lambda w, x, visible, positions, **more: deepseek_mla(
            w, x, visible, HEADS, positions=positions, **DEEPSEEK, **more
        ),
    )


MODELS = {
    "mha": Model(
        "MultiHeadAttention",
        dict(d_model=D_MODEL, num_heads=HEADS),
        lambda w, x, visible, _, **more: mha(w, x, visible, HEADS, **more),
    ),
    "mha_wide": Model(
        "MultiHeadAttention",
        dict(d_model=D_MODEL, num_heads=HEADS, head_dim=20),
        lambda w, x, visible, _, **more: mha(w, x, visible, HEADS, **more),
    ),
    "traditional": Model(
        "TraditionalMLA",
        dict(d_model=D_MODEL, num_heads=HEADS),
        lambda w, x, visible, _, **more: traditional_mla(w, x, visible, **more),
        one_pattern=True,
    ),
    "traditional_24": Model(
        "TraditionalMLA",
        dict(d_model=D_MODEL, num_heads=HEADS, d_latent=24, head_dim=16),
        lambda w, x, visible, _, **more: traditional_mla(w, x, visible, **more),
        one_pattern=True,
    ),
    "memory_efficient": Model(
        "MemoryEfficientMLA",
        dict(d_model=D_MODEL, num_heads=HEADS, d_latent=24, chunk_size=4),
        lambda w, x, visible, _, **more: memory_efficient_mla(w, x, visible, 24, **more),
        one_pattern=True,
    ),
    "deepseek_expanded": _deepseek_model("expanded", None),
    "deepseek_absorbed": _deepseek_model("absorbed", None),
    "deepseek_expanded_q_latent": _deepseek_model("expanded", 40),
    "deepseek_absorbed_q_latent": _deepseek_model("absorbed", 40),
}


def random_weights(shapes, dtype="float32", seed=0):
    """By name; activations stay near 1 in size."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape)
        if len(shape) == 2:
            values /= np.sqrt(shape[1])
        elif name.endswith("layernorm.weight"):
            values = 1 + values / 10
        weights[name] = values.astype(numpy_dtype(dtype))
    return weights


def random_x(batch, tokens, dtype="float32", seed=1):
    values = np.random.default_rng(seed).standard_normal((batch, tokens, D_MODEL))
    return values.astype(numpy_dtype(dtype))


def in_float64(arrays):
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def causal(tokens):
    return np.tril(np.ones((1, 1, tokens, tokens), bool))


def positions_from_zero(batch, tokens):
    return np.broadcast_to(np.arange(tokens, dtype=np.int32), (batch, tokens)).copy()


def expected(model, weights, x, visible=None, positions=None, **more):
    """The model's reference on the values that the arrays hold."""
    batch, tokens, _ = x.shape
    if visible is None:
        visible = np.ones((1, 1, 1, 1), bool)
    if positions is None:
        positions = positions_from_zero(batch, tokens)
    return model.reference(
        in_float64(weights), x.astype(np.float64), visible, positions.astype(np.float64), **more
    )


def threads_after(set_threads, call):
    """How many threads OpenMP has started after a call with 1, then with 3, then with 5."""

    def measure():
        # In a thread of its own, whose OpenMP starts with no others and is nobody else's.
        before, after = set(os.listdir("/proc/self/task")), []
        for threads in (1, 3, 5):
            set_threads(threads)
            call()
            after.append(len(set(os.listdir("/proc/self/task")) - before))
        return after

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(measure).result()


BOUNDS = {"float32": 5e-6, "bfloat16": 2**-6, "float16": 2**-9}
"""Of the largest error, against the largest expected value: some roundings of the dtype, which
pass through up to six products in a row."""


def assert_near(got, want, dtype="float32"):
    got = np.asarray(got).astype(np.float64)
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    error = np.abs(got - want).max() / np.abs(want).max()
    assert error <= BOUNDS[dtype], f"{error} > {BOUNDS[dtype]}"
