"""The interfaces of vLLM, FlashInfer and sgl_kernel: their argument order, against plain NumPy
definitions of what each function does."""

import numpy as np
import pytest
import seesaw
import torch
from format_model import MODELS, rotated
from seesaw.compat import flashinfer, sgl_kernel, vllm_ops

T, PAGE, PAGES = 23, 16, 4
ONE = torch.ones(1)


def tokens(dtype=torch.bfloat16, seed=0):
    torch.manual_seed(seed)
    return torch.randn(T, 512).to(dtype), torch.randn(T, 64).to(dtype)


def some_slots(count=T):
    slots = torch.randperm(PAGES * PAGE)[:count]
    slots[1] = -1
    return slots


def rows(*parts):
    return np.concatenate([part.float().numpy() for part in parts], 1)


def stored(cache, slots):
    return cache.reshape(PAGES * PAGE, -1)[slots[slots >= 0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_concat_and_cache_mla_auto(dtype):
    kv_c, k_pe = tokens(dtype)
    slots = some_slots(T - 5)  # fewer than there are tokens
    cache = torch.full((PAGES, PAGE, 576), 7.0, dtype=dtype)
    vllm_ops.concat_and_cache_mla(kv_c, k_pe, cache, slots, "auto", ONE)
    want = torch.full((PAGES * PAGE, 576), 7.0, dtype=dtype)
    kept = slots >= 0
    want[slots[kept]] = torch.cat([kv_c, k_pe], 1)[: T - 5][kept]
    assert torch.equal(cache.reshape(-1, 576), want)


@pytest.mark.parametrize("kv_cache_dtype", ["fp8", "fp8_e4m3", "fp8_ds_mla"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float8_e4m3fn])
def test_concat_and_cache_mla_fp8(kv_cache_dtype, dtype):
    model = MODELS["fp8_656" if kv_cache_dtype == "fp8_ds_mla" else "fp8_576"]
    kv_c, k_pe = tokens()
    slots, scale = some_slots(), torch.tensor(0.013)
    cache = torch.zeros(PAGES, PAGE, model.token, dtype=torch.uint8)
    vllm_ops.concat_and_cache_mla(kv_c, k_pe, cache.view(dtype), slots, kv_cache_dtype, scale)
    want = model.encode(rows(kv_c, k_pe), "exact", kv_scale=0.013)[0][slots >= 0]
    np.testing.assert_array_equal(stored(cache, slots).numpy(), want)
    unread, target = torch.tensor(torch.nan), cache.view(dtype)
    vllm_ops.concat_and_cache_mla(kv_c, k_pe, target, slots, kv_cache_dtype, unread, True)
    want = model.encode(rows(kv_c, k_pe), "exact", kv_scale=1.0)[0][slots >= 0]
    np.testing.assert_array_equal(stored(cache, slots).numpy(), want)


@pytest.mark.parametrize("is_neox", [False, True])
@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8", "fp8_ds_mla"])
def test_concat_and_cache_mla_rope_fused(is_neox, kv_cache_dtype):
    kv_c, k_pe = tokens()
    q_pe = torch.randn(T, 6, 64).bfloat16()
    angle = torch.rand(90, 32) * 6
    cos_sin = torch.cat([angle.cos(), angle.sin()], 1)
    positions, slots, scale = torch.randint(0, 90, (T,)), some_slots(), torch.tensor([0.02])
    rotary = "half_split" if is_neox else "interleaved"
    turn = (cos_sin.numpy(), positions.numpy(), rotary)
    want_k = rotated(k_pe.float().numpy(), *turn)
    want_q = rotated(q_pe.float().numpy(), *turn)
    before = kv_c.clone()
    if kv_cache_dtype == "auto":
        cache = torch.zeros(PAGES, PAGE, 576, dtype=torch.bfloat16)
    else:
        width = 656 if kv_cache_dtype == "fp8_ds_mla" else 576
        cache = torch.zeros(PAGES, PAGE, width, dtype=torch.uint8)
    vllm_ops.concat_and_cache_mla_rope_fused(
        positions, q_pe, k_pe, kv_c, cos_sin, is_neox, slots, cache, kv_cache_dtype, scale
    )
    assert torch.equal(q_pe, torch.from_numpy(want_q).bfloat16())
    assert torch.equal(k_pe, torch.from_numpy(want_k).bfloat16())
    assert torch.equal(kv_c, before)
    kept = (slots >= 0).numpy()
    values = np.concatenate([kv_c.float().numpy(), want_k], 1)[kept]
    if kv_cache_dtype == "auto":
        assert torch.equal(stored(cache, slots), torch.from_numpy(values).bfloat16())
        return
    model = MODELS["fp8_656" if kv_cache_dtype == "fp8_ds_mla" else "fp8_576"]
    want = model.encode(values, "exact", kv_scale=0.02)[0]
    np.testing.assert_array_equal(stored(cache, slots).numpy(), want)


def pages_of(lengths, seed=0):
    """A block table with a row to spare, the slots of every token in order, cu_seq_lens."""
    rng = np.random.default_rng(seed)
    order = iter(rng.permutation(PAGES))
    table = np.full((len(lengths) + 1, 3), 99, np.int32)
    slots = []
    for i, length in enumerate(lengths):
        for p in range(-(-length // PAGE)):
            table[i, p] = next(order)
        token = np.arange(length)
        slots.append(table[i, token // PAGE] * PAGE + token % PAGE)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return torch.from_numpy(table), slots, torch.from_numpy(ends)


LENGTHS = [20, 0, 30]


@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_gather_and_maybe_dequant_cache(kv_cache_dtype):
    table, slots, ends = pages_of(LENGTHS)
    order = np.concatenate(slots)
    scale = torch.tensor([0.5])
    if kv_cache_dtype == "auto":
        cache = torch.randn(PAGES, PAGE, 576).bfloat16()
        want = cache.reshape(-1, 576)[order]
    else:
        cache = torch.randint(0, 126, (PAGES, PAGE, 576), dtype=torch.uint8)
        decoded = MODELS["fp8_576"].decode(cache.reshape(-1, 576)[order].numpy(), 0.5)
        want = torch.from_numpy(decoded)
    dst = torch.full((60, 576), 3.0, dtype=torch.bfloat16)
    token_to_seq = torch.repeat_interleave(torch.arange(3), torch.tensor(LENGTHS)).int()
    vllm_ops.gather_and_maybe_dequant_cache(
        cache, dst, table, ends, token_to_seq, 50, kv_cache_dtype, scale
    )
    assert torch.equal(dst[:50], want.float().bfloat16()) and (dst[50:] == 3).all()
    starts = torch.tensor([16, 0, 7], dtype=torch.int32)
    counts = np.array(LENGTHS) - starts.numpy()
    part = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    wanted = np.concatenate([slot[start:] for slot, start in zip(slots, starts.tolist())])
    at = {slot: i for i, slot in enumerate(order)}
    vllm_ops.gather_and_maybe_dequant_cache(
        cache, dst, table, part, token_to_seq, int(part[-1]), kv_cache_dtype, scale, starts
    )
    again = want[[at[slot] for slot in wanted]].float().bfloat16()
    assert torch.equal(dst[: int(part[-1])], again)
    with pytest.raises(NotImplementedError, match="fp8_ds_mla.*cp_gather_and_upconvert"):
        vllm_ops.gather_and_maybe_dequant_cache(
            cache, dst, table, ends, token_to_seq, 50, "fp8_ds_mla", scale
        )


@pytest.mark.parametrize("width", [656, 576, "bfloat16", "float32"])
def test_cp_gather_cache(width):
    table, slots, ends = pages_of(LENGTHS)
    if isinstance(width, int):
        cache = torch.randint(0, 256, (PAGES, PAGE, width), dtype=torch.uint8)
    else:
        cache = torch.randn(PAGES, PAGE, 576).to(getattr(torch, width))
    dst = torch.zeros(50, cache.shape[2], dtype=cache.dtype)
    vllm_ops.cp_gather_cache(cache, dst, table, ends, 3)
    flat = cache.reshape(PAGES * PAGE, -1)
    assert torch.equal(dst, flat[np.concatenate(slots)])
    dst.zero_()
    vllm_ops.cp_gather_cache(cache, dst, table, ends, 1, seq_starts=torch.tensor([0, 9]).int())
    assert torch.equal(dst[:20], flat[slots[0]]) and not dst[20:].any()


def test_cp_gather_and_upconvert_in_both_forms():
    table, slots, ends = pages_of(LENGTHS)
    model = MODELS["fp8_656"]
    kv_c, k_pe = torch.randn(50, 512).bfloat16(), torch.randn(50, 64).bfloat16()
    cache = torch.zeros(PAGES, PAGE, 656, dtype=torch.uint8)
    order = torch.from_numpy(np.concatenate(slots))
    vllm_ops.concat_and_cache_mla(kv_c, k_pe, cache, order, "fp8_ds_mla", ONE)
    decoded = model.decode(cache.reshape(-1, 656)[order].numpy())
    want = torch.from_numpy(decoded).float().bfloat16()
    lengths = torch.tensor(LENGTHS, dtype=torch.int32)
    upconvert = vllm_ops.cp_gather_and_upconvert_fp8_kv_cache
    for arguments, named in (
        ((lengths, ends[:3], 3), {}),
        ((lengths, ends, 3), {}),
        ((), {"seq_lens": lengths, "workspace_starts": ends[:3], "batch_size": 3}),
        ((lengths,), {"workspace_starts": ends[:3], "batch_size": 3}),
        ((ends, 3), {}),
        ((ends[:3], 3), {}),
        ((ends, 3, None), {}),
        ((), {"workspace_starts": ends, "batch_size": 3, "seq_starts": torch.zeros(3).int()}),
    ):
        dst = torch.zeros(50, 576, dtype=torch.bfloat16)
        upconvert(cache, dst, table, *arguments, **named)
        assert torch.equal(dst, want), (arguments, named)
    dst = torch.zeros(33, 576, dtype=torch.bfloat16)
    starts = torch.tensor([16, 0, 1], dtype=torch.int32)
    upconvert(cache, dst, table, torch.tensor([0, 4, 4, 33]).int(), 3, starts)
    assert torch.equal(dst, torch.cat([want[16:20], want[21:]]))
    upconvert(cache, dst, table, torch.zeros(0).int(), 0)
    with pytest.raises(TypeError, match="missing batch_size"):
        upconvert(cache, dst, table, ends)
    with pytest.raises(TypeError, match="takes src_cache"):
        upconvert(cache, dst, table, ends, 3, None, 5)


@pytest.mark.parametrize("scale_fmt", ["ue8m0", None])
def test_indexer_keys(scale_fmt):
    model = MODELS["indexer_132"]
    table, slots, ends = pages_of(LENGTHS)
    k = torch.randn(53, 128).bfloat16()
    order = torch.from_numpy(np.concatenate(slots))
    cache = torch.zeros(PAGES, PAGE, 132, dtype=torch.uint8)
    vllm_ops.indexer_k_quant_and_cache(k, cache, order, 128, scale_fmt)
    rule = "power_of_two" if scale_fmt == "ue8m0" else "exact"
    want = model.encode(k[:50].float().numpy(), rule)[0]
    page = cache.reshape(PAGES, PAGE * 132)
    for slot, record in zip(order.tolist(), want):
        p, t = divmod(slot, PAGE)
        np.testing.assert_array_equal(page[p, 128 * t : 128 * t + 128].numpy(), record[:128])
        at = 128 * PAGE + 4 * t
        np.testing.assert_array_equal(page[p, at : at + 4].numpy(), record[128:])
    for key_dtype in (torch.uint8, torch.float8_e4m3fn):
        for scale_shape in ((52, 4), (52, 1)):
            keys = torch.full((52, 128), 5, dtype=torch.uint8).view(key_dtype)
            scales = torch.full((52, 4), 6, dtype=torch.uint8)
            scales = scales if scale_shape[1] == 4 else scales.view(torch.float32)
            vllm_ops.cp_gather_indexer_k_quant_cache(cache, keys, scales, table[:3], ends)
            np.testing.assert_array_equal(keys.view(torch.uint8)[:50].numpy(), want[:, :128])
            np.testing.assert_array_equal(scales.view(torch.uint8)[:50].numpy(), want[:, 128:])
            assert (keys.view(torch.uint8)[50:] == 5).all()
            assert (scales.view(torch.uint8)[50:] == 6).all()
    with pytest.raises(NotImplementedError, match="quant_block_size = 64"):
        vllm_ops.indexer_k_quant_and_cache(k, cache, order, 64, scale_fmt)


def parts(count=2, heads=3, width=16):
    torch.manual_seed(3)
    outs = [torch.randn(T, heads, width) for _ in range(count)]
    lses = [3 * torch.randn(T, heads) for _ in range(count)]
    lses[0][2] = np.inf
    lses[1][4] = -np.inf
    for lse in lses:
        lse[6, 1] = -np.inf
    return outs, lses


def merged(outs, lses, base):
    values = np.stack([out.double().numpy() for out in outs])
    logs = np.stack([lse.double().numpy() for lse in lses]) * np.log(base)
    weights = np.where(np.isfinite(logs), np.exp(np.where(np.isfinite(logs), logs, 0)), 0)
    total = weights.sum(0)
    with np.errstate(divide="ignore"):
        lse = np.log(total) / np.log(base)
    return (weights[..., None] * values).sum(0) / np.where(total == 0, 1, total)[..., None], lse


def assert_merged(got, outs, lses, base):
    for mine, want in zip(got, merged(outs, lses, base)):
        np.testing.assert_allclose(mine.double().numpy(), want, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("context", [None, 0, 9, T])
def test_merge_attn_states(context):
    outs, lses = parts()
    turned = [lse.T.contiguous() for lse in lses]
    for with_lse in (True, False):
        out, lse = torch.full_like(outs[0], 9), torch.full_like(turned[0], 9)
        given = {"output_lse": lse} if with_lse else {}
        given["prefill_tokens_with_context"] = context
        vllm_ops.merge_attn_states(out, outs[0], turned[0], outs[1], turned[1], **given)
        count = T if context is None else context
        want_out, want_lse = merged(outs, lses, np.e)
        np.testing.assert_allclose(out[:count].numpy(), want_out[:count], rtol=3e-6, atol=3e-6)
        assert torch.equal(out[count:], outs[1][count:])
        if with_lse:
            np.testing.assert_allclose(
                lse.T[:count].numpy(), want_lse[:count], rtol=3e-6, atol=3e-6
            )
            assert torch.equal(lse[:, count:], turned[1][:, count:])
    with pytest.raises(NotImplementedError, match="output_scale given"):
        vllm_ops.merge_attn_states(out, outs[0], turned[0], outs[1], turned[1], None, None, ONE)
    with pytest.raises(ValueError, match="prefill_tokens_with_context = 24"):
        vllm_ops.merge_attn_states(out, outs[0], turned[0], outs[1], turned[1], None, T + 1)


def test_flashinfer_merges_are_to_base_2():
    outs, lses = parts()
    got = flashinfer.merge_state(outs[0], lses[0], outs[1], lses[1])
    assert_merged(got, outs, lses, 2)
    v, s = outs[0].clone(), lses[0].clone()
    flashinfer.merge_state_in_place(v, s, outs[1], lses[1])
    assert torch.equal(v, got[0]) and torch.equal(s, got[1])
    with pytest.raises(NotImplementedError, match="mask given"):
        flashinfer.merge_state_in_place(v, s, outs[1], lses[1], torch.ones(T, dtype=torch.bool))
    for count in (2, 5):
        outs, lses = parts(count)
        got = flashinfer.merge_states(torch.stack(outs, 1), torch.stack(lses, 1))
        assert_merged(got, outs, lses, 2)
    alone = flashinfer.merge_states(outs[0][:, None], lses[0][:, None])
    assert torch.equal(alone[0], outs[0]) and torch.equal(alone[1], lses[0])


@pytest.mark.parametrize("one_cache", [False, True])
def test_flashinfer_append(one_cache):
    ckv, kpe = tokens(torch.float16)
    indptr, indices = torch.tensor([0, 1, 4]).int(), torch.tensor([2, 0, 3, 1]).int()
    batch = torch.tensor([0] * 9 + [1] * 13 + [-1]).int()
    positions = torch.cat([torch.arange(9), torch.arange(20, 33), torch.zeros(1)]).int()
    both = torch.zeros(PAGES, PAGE, 576, dtype=torch.float16)
    caches = (both[..., :512], both[..., 512:])
    if not one_cache:
        caches = tuple(cache.contiguous() for cache in caches)
    last = torch.tensor([9, 1]).int()
    flashinfer.append_paged_mla_kv_cache(ckv, kpe, batch, positions, *caches, indices, indptr, last)
    want = np.zeros((PAGES, PAGE, 576), np.float16)
    for i in range(T - 1):
        page = indices[indptr[batch[i]] + positions[i] // PAGE]
        want[page, positions[i] % PAGE] = np.concatenate([ckv[i].numpy(), kpe[i].numpy()])
    np.testing.assert_array_equal(torch.cat(caches, -1).numpy(), want)


def test_sgl_kernel_merges():
    outs, lses = parts()
    got = sgl_kernel.merge_state_v2(outs[0], lses[0], outs[1], lses[1])
    assert_merged(got, outs, lses, np.e)
    v, s = torch.empty_like(outs[0]), torch.empty_like(lses[0])
    back = sgl_kernel.merge_state_v2(outs[0], lses[0], outs[1], lses[1], v, s)
    assert back[0] is v and back[1] is s and torch.equal(v, got[0]) and torch.equal(s, got[1])
    assert_merged(sgl_kernel.merge_state(outs[0], lses[0], outs[1], lses[1]), outs, lses, 2)


def test_refusals_name_the_function():
    kv_c, k_pe = tokens()
    cache, slots = torch.zeros(PAGES, PAGE, 576, dtype=torch.bfloat16), some_slots()
    with pytest.raises(NotImplementedError, match=r"concat_and_cache_mla: .*'fp8_e5m2', allowed"):
        vllm_ops.concat_and_cache_mla(kv_c, k_pe, cache, slots, "fp8_e5m2", ONE)
    with pytest.raises(TypeError, match="kv_c of type ndarray, allowed: a torch.Tensor"):
        vllm_ops.concat_and_cache_mla(kv_c.float().numpy(), k_pe, cache, slots, "auto", ONE)
    with pytest.raises(ValueError, match="dst of torch.float16"):
        vllm_ops.cp_gather_cache(cache, cache[0].half(), slots[None].int(), slots.int(), 1)
    other = torch.zeros(1, 4, 132, dtype=torch.uint8)
    with pytest.raises(NotImplementedError, match="132 bytes a token"):
        vllm_ops.cp_gather_cache(other, other[0], slots[None].int(), slots.int(), 1)
    assert seesaw.compat.__doc__
