"""Dense decoding."""

from __future__ import annotations

from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, NoReturn, Optional, Tuple

from seesaw._arrays import Array, ArrayLibrary, known_libraries, library_of, one_number
from seesaw._call import explain_failure, run
from seesaw._formats import check_kv_scale
from seesaw._keys import Key, known_settings_key, settings_key
from seesaw._lse_layout import is_tokens_first, with_tokens_first
from seesaw._schedule import Schedule, check_agreement, require_schedule
from seesaw._tables import DENSE_DECODE, DenseDecodeSettings

if TYPE_CHECKING:
    from typing_extensions import Unpack

D_V = next(field.default for field in DENSE_DECODE.problem if field.name == "d_v")


class Besides(NamedTuple):
    """What a call brings besides dense decoding proper; None: it does not."""

    tree_mask: Optional[Array] = None
    sinks: Optional[Array] = None
    max_logits: Optional[Array] = None
    cu_seqlens_q: Optional[Array] = None
    soft_cap: Optional[float] = None
    s_q: Optional[int] = None
    q_rotary: Optional[Array] = None

    def told(self) -> Dict[str, Any]:
        """What tensors do not tell of the problem."""
        told: Dict[str, Any] = {} if self.soft_cap is None else {"soft_cap": True}
        return told if self.s_q is None else {"s_q": self.s_q, **told}


NOTHING = Besides()


def dense_decode(
    q: Array,
    kv_cache: Array,
    block_table: Array,
    seq_lens: Array,
    *,
    scale: float,
    schedule: Optional[Schedule] = None,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    workspace: Optional[Array] = None,
    d_v: Optional[int] = None,
    q_rotary: Optional[Array] = None,
    kv_scale: Optional[Array] = None,
    tree_mask: Optional[Array] = None,
    sinks: Optional[Array] = None,
    soft_cap: Optional[float] = None,
    max_logits: Optional[Array] = None,
    return_max_logits: bool = False,
    cu_seqlens_q: Optional[Array] = None,
    s_q: Optional[int] = None,
    lse_layout: Optional[str] = None,
    **settings: Unpack[DenseDecodeSettings],
) -> Tuple[Array, ...]:
    """Dense MLA decoding over a paged cache of latents.

        out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the keys that token i sees
        lse[b, h, i]    = log(sum(exp(scale * q K^T)))

    with V the first `d_v` columns of K. A row with nothing to attend gives out = 0 and an infinite
    lse. Same inputs, same bits. On a GPU: asynchronous on the current stream of the array library,
    no synchronisation, capturable in a CUDA graph. Thread-safe. (DeepSeek-V2, arXiv:2405.04434,
    section 2.1.2, in its absorbed form.)

    Arrays are of one library and on one device.

    Args:
        q: [b, s_q, h_q, d_qk] float32, bfloat16 or float16, any strides but the last.
        kv_cache: [num_pages, page_size, h_kv, d_qk] of any such dtype, any strides but the last; or
            [num_pages, page_size, d_qk]. Or of bytes (uint8, or int8 or float8_e4m3fn, taken as
            bytes), [num_pages, page_size, 1, token bytes], with kv_format.
        block_table: [b, max_pages_per_sequence] int32: page ids.
        seq_lens: [b] int32: tokens in the cache, the s_q new ones included. Arrays of int64 are
            converted by every call that gets them, here and in the others of int32.
        scale: Of the scores; the model's, which `seesaw.softmax_scale` finds in its configuration.
            DeepSeek's is 192 ** -0.5, of the head before absorption, times YaRN's factor.
        schedule: Of `make_schedule` for the same lengths. None: made by this call. If given, its
            problem and options decide everything below, which may be left out.
        out: [b, s_q, h_q, d_v] as q, any strides but the last, every element is written. None:
            allocated.
        lse: [b, h_q, s_q] float32, any strides. None: allocated.
        workspace: uint8 of `workspace_size(schedule)`. None: allocated from the array library for
            this call.
        d_v: Columns of out; None: 512.
        q_rotary: [b, s_q, h_q, d_rope] as q, with strides of its own: the last columns of the
            queries, where q has the first d_qk - d_rope alone. Results are the same bits as of
            both in one array. None: q has all.
        kv_scale: [1] float32, in the memory of the others: what every number of the cache is
            multiplied by, in formats of one scale (fp8_576). None: 1.
        tree_mask: [b, s_q, at least s_q / 8 rounded up] uint8: of the sequence's last s_q tokens,
            the queries' own, query token i sees number k only where bit k % 8 of byte k // 8 of its
            row is set, as far as causal and window let it. None: no tree.
        sinks: [h_q] float32, contiguous: out is multiplied by exp(lse) / (exp(lse) + exp(sink));
            lse and max_logits do not know of it. None: none.
        soft_cap: Scaled scores become soft_cap * tanh(score / soft_cap). None: they do not.
        max_logits: [b, h_q, s_q] float32: gets the largest score of each row, scaled and capped,
            -inf where there is none. None: allocated if `return_max_logits`, else not computed.
        cu_seqlens_q: [b + 1] int32, contiguous, for ragged queries: sequence i has the query tokens
            cu_seqlens_q[i] to cu_seqlens_q[i + 1], 0 to s_q of them. Then q is [total_q, h_q,
            d_qk], out [total_q, h_q, d_v], lse and max_logits [h_q, total_q], tree_mask [total_q,
            bytes]; causal counts from each sequence's own last token. None: s_q of each.
        s_q: With cu_seqlens_q: the most query tokens of a sequence. Else q's shape tells it.
        lse_layout: Of lse and max_logits. "bhs": [b, h_q, s_q]; "bsh": [b, s_q, h_q]; with
            cu_seqlens_q "ht": [h_q, total_q] or "th": [total_q, h_q]. None: the first of the two.
        settings: kv_format, of `seesaw.formats()` and needed for a cache of bytes, causal, window,
            lse_base and empty_lse of `Problem`; num_threads, batch_invariant, check_data, kernel
            and tuning of `Options`; with their defaults.

    Returns:
        (out, lse), or (out, lse, max_logits) where it was asked for.

    Raises:
        ValueError, TypeError: An argument is malformed.
        NotImplementedError: No kernel of this build runs the problem here.
        RuntimeError: The CUDA driver failed, or the library did.
    """
    arrays = known_libraries.get(type(q)) or library_of(q, "q")
    if lse_layout is not None and is_tokens_first(lse_layout, cu_seqlens_q is not None):
        decode = partial(
            dense_decode,
            q,
            kv_cache,
            block_table,
            seq_lens,
            scale=scale,
            schedule=schedule,
            out=out,
            workspace=workspace,
            d_v=d_v,
            q_rotary=q_rotary,
            kv_scale=kv_scale,
            tree_mask=tree_mask,
            sinks=sinks,
            soft_cap=soft_cap,
            return_max_logits=return_max_logits,
            cu_seqlens_q=cu_seqlens_q,
            s_q=s_q,
            **settings,
        )
        shape = shapes_of(q, cu_seqlens_q is not None)[1]
        return with_tokens_first(decode, arrays, q, shape, lse, max_logits)
    if kv_scale is not None:
        _check_kv_scale(schedule, settings)
        kv_scale = one_number(kv_scale)
    traces = arrays.traces_calls
    traced = traces is not None and traces()
    if (  # the layers of a step: what is asked below is answered
        type(schedule) is Schedule
        and tree_mask is sinks is soft_cap is max_logits is cu_seqlens_q is None
        and d_v is s_q is None
        and not (settings or return_max_logits or traced)
        and schedule.operation is DENSE_DECODE
    ):
        given_outputs: Tuple[Array, ...] = (out, lse)
        if out is None or lse is None:
            out, lse, given_outputs = with_outputs(arrays, q, out, lse, schedule.d_v, False)
        try:
            if arrays.decode_at_once(
                schedule,
                scale,
                q,
                kv_cache,
                block_table,
                seq_lens,
                out,
                lse,
                kv_scale,
                q_rotary,
                workspace,
                given_outputs,
            ):
                return out, lse
        except Exception as error:
            brought = (q, kv_cache, block_table, seq_lens, out, lse, kv_scale, q_rotary)
            explain_failure(DENSE_DECODE, arrays, brought, (scale,), error)
            raise
    besides = NOTHING
    if not (
        tree_mask is sinks is soft_cap is max_logits is cu_seqlens_q is s_q is q_rotary is None
    ):
        besides = Besides(tree_mask, sinks, max_logits, cu_seqlens_q, soft_cap, s_q, q_rotary)
    wants_max_logits = return_max_logits or max_logits is not None
    if traced:
        buffers = (schedule, out, lse, workspace)
        return arrays.tracer().record(
            q,
            kv_cache,
            block_table,
            seq_lens,
            buffers,
            scale,
            d_v,
            settings,
            kv_scale,
            besides,
            wants_max_logits,
        )
    if schedule is None:
        columns = D_V if d_v is None else d_v if type(d_v) is int else whole_number(d_v)
        key, buffer = _key_of(columns, besides, settings), None
    else:
        if type(schedule) is not Schedule or schedule.operation is not DENSE_DECODE:
            require_schedule(DENSE_DECODE, schedule)
        if settings or d_v is not None or s_q is not None:
            check_agreement(schedule, d_v, settings, s_q)
        key, columns, buffer = schedule.key, schedule.d_v, schedule.buffer
    given_outputs = (out, lse)
    ragged = cu_seqlens_q is not None
    if out is None or lse is None:
        out, lse, given_outputs = with_outputs(arrays, q, out, lse, columns, ragged)
    tensors: Tuple[Any, ...] = (q, kv_cache, block_table, seq_lens, out, lse, kv_scale)
    scalars: Tuple[float, ...] = (scale,)
    if besides is not NOTHING or wants_max_logits:
        if max_logits is not None:
            given_outputs = (*given_outputs, max_logits)
        elif wants_max_logits:
            max_logits = arrays.empty(shapes_of(q, ragged)[1], "float32", q)
        tensors += (q_rotary, tree_mask, sinks, max_logits, cu_seqlens_q)
        scalars = (scale, 0.0 if soft_cap is None else soft_cap)
    complete = schedule is not None
    run(DENSE_DECODE, arrays, key, tensors, scalars, buffer, workspace, complete, given_outputs)
    return (out, lse, max_logits) if wants_max_logits else (out, lse)


def decode_scheduled(
    arrays: ArrayLibrary,
    schedule: Schedule,
    scale: float,
    q: Array,
    kv_cache: Array,
    block_table: Array,
    seq_lens: Array,
    out: Array,
    lse: Array,
    q_rotary: Optional[Array] = None,
) -> None:
    """The layers of a step, for those who have allocated out and lse themselves just now."""
    tensors = (q, kv_cache, block_table, seq_lens, out, lse, None, q_rotary)
    try:
        if arrays.decode_at_once(schedule, scale, *tensors, None, ()):
            return
    except Exception as error:
        explain_failure(DENSE_DECODE, arrays, tensors, (scale,), error)
        raise
    run(DENSE_DECODE, arrays, schedule.key, tensors, (scale,), schedule.buffer, None, True)


def _check_kv_scale(schedule: Optional[Schedule], settings: Mapping[str, Any]) -> None:
    if schedule is None:
        check_kv_scale("dense_decode", settings.get("kv_format"))
    elif not isinstance(schedule, Schedule):
        require_schedule(DENSE_DECODE, schedule)
    else:
        check_kv_scale("dense_decode", getattr(schedule.problem, "kv_format", None))


def _key_of(columns: int, besides: Besides, settings: Mapping[str, Any]) -> Key:
    """Of what the tensors do not tell."""
    if besides.cu_seqlens_q is not None and besides.s_q is None:
        refuse_unknown_s_q()
    told = besides.told()
    try:
        return known_settings_key(DENSE_DECODE, d_v=columns, **told, **settings)
    except TypeError:
        return settings_key(DENSE_DECODE, d_v=columns, **told, **settings)


def whole_number(d_v: Any, where: str = "dense_decode") -> int:
    try:
        return index(d_v)
    except TypeError:
        raise TypeError(
            f"{where}: d_v of type {type(d_v).__name__}, allowed: an integer. Pass an int."
        ) from None


def refuse_unknown_s_q() -> NoReturn:
    raise ValueError(
        "dense_decode: cu_seqlens_q without s_q, allowed: with it, or with a schedule. Pass the "
        "most query tokens of a sequence."
    )


def shapes_of(q: Array, ragged: bool) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """(of out without its columns, of lse)"""
    shape = q.shape
    if len(shape) != (3 if ragged else 4):
        wanted = "[total_q, h_q, d_qk] with cu_seqlens_q" if ragged else "[b, s_q, h_q, d_qk]"
        raise ValueError(
            f"dense_decode: q has rank {len(shape)}, allowed: {wanted}. Reshape the array."
        )
    if ragged:
        total_q, h_q, _ = shape
        return (total_q, h_q), (h_q, total_q)
    b, s_q, h_q, _ = shape
    return (b, s_q, h_q), (b, h_q, s_q)


def with_outputs(
    arrays: ArrayLibrary,
    q: Array,
    out: Optional[Array],
    lse: Optional[Array],
    d_v: int,
    ragged: bool,
) -> Tuple[Array, Array, Tuple[Array, ...]]:
    """(out, lse, those that the caller brought), where that is not both; the rest is allocated."""
    given = () if out is lse else (lse,) if out is None else (out,)
    rows, numbers = shapes_of(q, ragged)
    if out is None:
        out = arrays.empty((*rows, d_v), "like", q)
    if lse is None:
        lse = arrays.empty(numbers, "float32", q)
    return out, lse, given
