"""MLA of DeepSeek's models, in the two forms that give the same result."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

from seesaw._arrays import Array
from seesaw._yarn import RopeScaling, from_config, rope_of
from seesaw.baselines._layer import BIAS, Layer, Sizes

_MODELS: Dict[str, int] = {"expanded": 4, "absorbed": 5}
_SIZES = {
    "d_model": "hidden_size",
    "num_heads": "num_attention_heads",
    "d_q_latent": "q_lora_rank",
    "d_latent": "kv_lora_rank",
    "d_nope": "qk_nope_head_dim",
    "d_rope": "qk_rope_head_dim",
    "d_v": "v_head_dim",
}
"""Arguments, and their names in a configuration."""
_NOT_COMPUTED: Dict[str, Callable[[Any], bool]] = {
    "rope_interleave": lambda value: value is False,
    "index_topk": bool,
    "quantization_config": bool,
}
"""Entries of a configuration that ask for what the layer does not compute."""


class DeepSeekMLA(Layer):
    """MLA of DeepSeek-V2 (arXiv:2405.04434, section 2.1): the cache holds a low-rank latent of keys
    and values and one rotary key for all heads.

        q_h       = [qN_h, rope(qR_h)]      from x Wq^T, or RMSNorm(x Wqa^T + bqa) Wqb^T
        [c, r]    = x Wkva^T + bkva;  cache row = [RMSNorm(c), rope(r)]             L + R numbers

    Expanded: keys and values of every head are projected up from the latents of all S tokens.

        [kN_h, v_h] = Wkvb,h RMSNorm(c)
        out         = concat_h(softmax(scale * (qN_h kN_h^T + rope(qR_h) rope(r)^T)) v_h) Wo^T + bo

    Absorbed: with Wkvb,h = [W_UK,h; W_UV,h], the cache itself is keys and values of all heads; its
    attention is what `seesaw.dense_decode` does.

        q'_h = [qN_h W_UK,h, rope(qR_h)]                                            L + R numbers
        o'_h = softmax(scale * q'_h cache^T) cache[:, 0:L]
        out  = concat_h(o'_h W_UV,h^T) Wo^T + bo

    rope turns adjacent pairs (2i, 2i + 1) by position * f_i, f_i = rope_theta^(-2i / R). With YaRN
    (arXiv:2309.00071; rope_scaling) f_i is divided by factor where a pair turns less than beta_slow
    times in the original context, stays where it turns more than beta_fast times, and goes from one
    to the other between; scale is multiplied by m(mscale_all_dim)^2, sines and cosines by
    m(mscale) / m(mscale_all_dim), with m(x) = 0.1 x ln(factor) + 1.

    Parameters, named as in the published checkpoints (`self_attn.*`): q_proj [H (d_nope + R),
    d_model], or with d_q_latent q_a_proj [d_q_latent, d_model], q_a_layernorm [d_q_latent] and
    q_b_proj [H (d_nope + R), d_q_latent]; kv_a_proj_with_mqa [L + R, d_model], kv_a_layernorm [L],
    kv_b_proj [H (d_nope + V), L], o_proj [d_model, H V]; each `.weight`, and with bias q_a_proj,
    kv_a_proj_with_mqa and o_proj also `.bias`. Cache: L + R wide.

    Args:
        d_model: Columns of x (hidden_size).
        num_heads: H (num_attention_heads).
        d_q_latent: Rank of the query's projection (q_lora_rank); None or 0: q_proj alone.
        d_latent: L (kv_lora_rank).
        d_nope: Columns of a head without position (qk_nope_head_dim).
        d_rope: R, even: rotary columns of a head (qk_rope_head_dim).
        d_v: V: value columns of a head (v_head_dim).
        form: "absorbed" or "expanded".
        rope_theta: Base of the rotary embedding.
        rope_scaling: Of the model's configuration: a dict of type "yarn" with factor,
            original_max_position_embeddings, beta_fast, beta_slow, mscale, mscale_all_dim. None:
            none. Published checkpoints of DeepSeek-V2, V3 and R1 need theirs: nothing in their
            tensors tells, so `from_config` is the safer way.
        norm_epsilon: Of the RMSNorms.
        bias: attention_bias.
        scale: Of the scores; None: (d_nope + R) ** -0.5 m(mscale_all_dim)^2, as
            `seesaw.softmax_scale`.
        num_threads: On the CPU; 0: as many as OpenMP would use at the call.

    Raises:
        ValueError: A size is out of range, or the form is unknown.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_q_latent: Optional[int] = None,
        d_latent: int = 512,
        d_nope: int = 128,
        d_rope: int = 64,
        d_v: int = 128,
        *,
        form: str = "absorbed",
        rope_theta: float = 10000.0,
        norm_epsilon: float = 1e-6,
        bias: bool = False,
        scale: Optional[float] = None,
        num_threads: int = 0,
        rope_scaling: Optional[Mapping[str, Any]] = None,
    ) -> None:
        if not isinstance(form, str) or form not in _MODELS:
            raise ValueError(
                f'baselines: form = {form!r}, allowed: "expanded", "absorbed". Choose one of them.'
            )
        self._model = _MODELS[form]
        self.form = form
        super().__init__(
            Sizes(
                d_model,
                num_heads,
                d_latent=d_latent,
                d_q_latent=d_q_latent,
                d_nope=d_nope,
                d_rope=d_rope,
                d_v=d_v,
            ),
            flags=BIAS if bias else 0,
            rope_theta=rope_theta,
            norm_epsilon=norm_epsilon,
            scale=scale,
            num_threads=num_threads,
            rope_scaling=RopeScaling.of(rope_scaling, "baselines"),
        )

    @classmethod
    def from_config(cls, config: Any, **more: Any) -> DeepSeekMLA:
        """The layer of a model's configuration: the dict of its config.json, or a configuration of
        Transformers. `more`: form, num_threads.

        Raises:
            ValueError, TypeError: The configuration asks for what this layer does not compute:
                another rope scaling than YaRN, rotary pairs that are halves of a head, sparse
                attention, quantised weights.
        """
        for name, refused in _NOT_COMPUTED.items():
            value = from_config(config, name)
            if refused(value):
                raise ValueError(
                    f"baselines: {name} = {value!r:.60} in the configuration, allowed: a model "
                    "whose attention is dense, with interleaved rotary pairs and weights that are "
                    "not quantised. Use another model, or convert its checkpoint."
                )
        sizes = {ours: from_config(config, theirs) for ours, theirs in _SIZES.items()}
        for name, value in sizes.items():
            if value is None and name != "d_q_latent":
                raise ValueError(
                    f"baselines: no {_SIZES[name]} in the configuration, allowed: those of models "
                    "with MLA. Pass the configuration of one."
                )
        rope = rope_of(config)
        theta = from_config(config, "rope_theta") or (rope or {}).get("rope_theta") or 10000.0
        return cls(
            **sizes,
            rope_theta=theta,
            rope_scaling=rope,
            bias=bool(from_config(config, "attention_bias")),
            **more,
        )

    def __call__(
        self,
        x: Array,
        mask: Optional[Array] = None,
        *,
        causal: bool = False,
        positions: Optional[Array] = None,
        cache: Optional[Array] = None,
        past_tokens: int = 0,
        out: Optional[Array] = None,
        workspace: Optional[Array] = None,
    ) -> Array:
        """One forward pass. Sums are float32, scores and softmax too; what goes into the next
        product is rounded to the dtype. Same inputs, same bits on the CPU. On a GPU: asynchronous
        on the current stream of the array library. Thread-safe. There is no backward pass.

        Args:
            x: [B, N, d_model], contiguous, of the parameters' dtype and on their device.
            mask: bool or uint8, false or 0 hides key s from query n; [N, S], [B, N, S], or
                [1 or B, 1 or H, N, S], with S = past_tokens + N keys. A query that sees no key
                attends to nothing: its attention output is 0. None: every key is seen.
            causal: Query n sees keys [0, past_tokens + n]; joins with the mask.
            positions: [B, N] int32, for the rotary embedding. None: past_tokens + n.
            cache: [B, capacity, L + R] of `new_cache`: tokens [0, past_tokens) are read,
                [past_tokens, past_tokens + N) are written. None: x has all tokens.
            past_tokens: Tokens in the cache before the call, the same for every sequence.
            out: [B, N, d_model], every element is written. None: allocated.
            workspace: uint8 of `workspace_size`. None: allocated for this call.

        Returns:
            out.

        Raises:
            ValueError: A shape, a stride or a device is wrong, or nothing has been loaded.
            TypeError: A dtype is wrong, or x is of another array library than the parameters.
            NotImplementedError: No backend of this build runs the layer here.
        """
        return self._call(x, mask, positions, causal, cache, past_tokens, out, workspace)
