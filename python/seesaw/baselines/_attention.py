"""Multi-head attention, and the traditional MLA that is compared with it."""

from __future__ import annotations

from typing import Optional

from seesaw._arrays import Array
from seesaw.baselines._layer import BIAS, SKIP_UNUSED, Layer, Sizes


class _LayerWithMask(Layer):
    """The call of the layers without positions."""

    def __call__(
        self,
        x: Array,
        mask: Optional[Array] = None,
        *,
        causal: bool = False,
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
                [1 or B, 1 or H, N, S], with S = past_tokens + N keys; H is for multi-head
                attention only. A query that sees no key attends to nothing: its attention output
                is 0. None: every key is seen.
            causal: Query n sees keys [0, past_tokens + n]; joins with the mask.
            cache: [B, capacity, cache_width] of `new_cache`: tokens [0, past_tokens) are read,
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
        return self._call(x, mask, None, causal, cache, past_tokens, out, workspace)


class MultiHeadAttention(_LayerWithMask):
    """Multi-head attention with its projections (arXiv:1706.03762, section 3.2.2).

        Q, K, V = x Wq^T + bq, x Wk^T + bk, x Wv^T + bv          [B, N, H D]
        out     = concat_h(softmax(scale * Q_h K_h^T) V_h) Wo^T + bo

    Parameters: q_proj, k_proj, v_proj [H D, d_model], out_proj [d_model, H D]; each `.weight` and,
    with bias, `.bias`. Cache: K and V of all heads, 2 H D wide.

    Args:
        d_model: Columns of x.
        num_heads: H.
        head_dim: D; None: d_model / num_heads.
        bias: Whether the projections have biases.
        scale: Of the scores; None: D ** -0.5.
        num_threads: On the CPU; 0: as many as OpenMP would use at the call.

    Raises:
        ValueError: A size is out of range.
    """

    _model = 1

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        head_dim: Optional[int] = None,
        *,
        bias: bool = True,
        scale: Optional[float] = None,
        num_threads: int = 0,
    ) -> None:
        super().__init__(
            Sizes(d_model, num_heads, head_dim),
            flags=BIAS if bias else 0,
            scale=scale,
            num_threads=num_threads,
        )


class TraditionalMLA(_LayerWithMask):
    """Traditional MLA, plain: one attention pattern for all heads, over latents of the flattened
    heads; the score matrix of all queries is materialised. It is the definition of the study notes
    that this project answers, no published model's.

        Q, K, V    = x Wq^T + bq, x Wk^T + bk, x Wv^T + bv           [B, N, H D]
        Q', K', V' = Q Wq'^T + bq', K Wk'^T + bk', V Wv'^T + bv'     [B, N, D']
        O'         = softmax(scale * Q' K'^T) V'                     [B, N, D']
        out        = (O' Wr^T + br) Wo^T + bo

    Parameters: q_proj, k_proj, v_proj [H D, d_model], q_latent_proj, k_latent_proj, v_latent_proj
    [D', H D], head_reconstruction [H D, D'], out_proj [d_model, H D]; each `.weight` and, with
    bias, `.bias`. Cache: K' and V', 2 D' wide.

    Args:
        d_model: Columns of x.
        num_heads: H.
        d_latent: D'; None: head_dim.
        head_dim: D; None: d_model / num_heads.
        bias: Whether the projections have biases.
        scale: Of the scores; None: D' ** -0.5.
        num_threads: On the CPU; 0: as many as OpenMP would use at the call.

    Raises:
        ValueError: A size is out of range.
    """

    _model = 2

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_latent: Optional[int] = None,
        head_dim: Optional[int] = None,
        *,
        bias: bool = True,
        scale: Optional[float] = None,
        num_threads: int = 0,
    ) -> None:
        super().__init__(
            Sizes(d_model, num_heads, head_dim, d_latent),
            flags=BIAS if bias else 0,
            scale=scale,
            num_threads=num_threads,
        )


class MemoryEfficientMLA(_LayerWithMask):
    """Traditional MLA in its memory-efficient form: one combined projection, and queries in chunks
    against all keys, so that chunk_size x S scores are held at once, not N x S.

        [Q_unused, Q', K', V'] = x Wc^T + bc                         [B, N, H D + 3 D']
        O'                     = softmax(scale * Q' K'^T) V'         a chunk of queries at a time
        out                    = (O' Wr^T + br) Wo^T + bo

    Nothing reads Q_unused; it is computed because the definition does.

    Parameters: combined_proj [H D + 3 D', d_model], head_reconstruction [H D, D'], out_proj
    [d_model, H D]; each `.weight` and, with bias, `.bias`. Cache: K' and V', 2 D' wide.

    Args:
        d_model: Columns of x.
        num_heads: H.
        d_latent: D'; None: head_dim.
        head_dim: D; None: d_model / num_heads.
        chunk_size: Queries at a time.
        bias: Whether the projections have biases.
        skip_unused: Leave Q_unused out of the product; the parameters stay the same.
        scale: Of the scores; None: D' ** -0.5.
        num_threads: On the CPU; 0: as many as OpenMP would use at the call.

    Raises:
        ValueError: A size is out of range.
    """

    _model = 3

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_latent: Optional[int] = None,
        head_dim: Optional[int] = None,
        chunk_size: int = 1024,
        *,
        bias: bool = True,
        skip_unused: bool = False,
        scale: Optional[float] = None,
        num_threads: int = 0,
    ) -> None:
        super().__init__(
            Sizes(d_model, num_heads, head_dim, d_latent, chunk_size=chunk_size),
            flags=(BIAS if bias else 0) | (SKIP_UNUSED if skip_unused else 0),
            scale=scale,
            num_threads=num_threads,
        )
