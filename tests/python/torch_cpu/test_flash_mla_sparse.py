"""The sparse functions of the drop-in for flash_mla on CPU tensors."""

import numpy as np
import pytest
import torch
from cases import SCALE
from seesaw.compat.flash_mla import (
    flash_mla_sparse_fwd,
    flash_mla_with_kvcache,
    get_mla_metadata,
)
from sparse_cases import Cache, assert_near, attend, query


def as_torch(cache):
    array = torch.from_numpy(cache.array)
    if array.dtype == torch.uint8:
        array = array.view(torch.float8_e4m3fn)
    return array, torch.from_numpy(cache.indices)


def bfloat16_query(*shape):
    q = torch.from_numpy(query(shape)).bfloat16()
    return q, q.float().numpy()


def numbers(got):
    return [tensor.float() for tensor in got]


def test_deepseek_v32():
    cache = Cache((3, 2, 70), "fp8_656", 576)
    q, exact = bfloat16_query(3, 2, 16, 576)
    k_cache, indices = as_torch(cache)
    sched_meta, _ = get_mla_metadata()
    lengths = torch.full((3,), 200, dtype=torch.int32)
    older = get_mla_metadata(lengths, 2 * 16, 1, 16, True, 70)
    common = {"softmax_scale": SCALE, "is_fp8_kvcache": True, "indices": indices}
    calls = [
        (None, None, 512, sched_meta),
        (None, None, 512, sched_meta),
        (torch.zeros(3, 9, dtype=torch.int32), lengths, 512, *older),
    ]
    expected = attend(exact, [cache])[:2]
    for arguments in calls:
        got = flash_mla_with_kvcache(q, k_cache, *arguments, **common)
        assert got[0].dtype == torch.bfloat16
        assert_near(numbers(got), expected, infinity=np.inf)
    assert sched_meta.have_initialized


def test_deepseek_v4():
    counts = [np.array(of, np.int32) for of in ([64, 0, 5], [0, 0, 40])]
    cache = Cache((3, 1, 64), "fp8_584", 512, lengths=counts[0])
    extra = Cache((3, 1, 40), "fp8_584", 512, page_size=2, pages=40, seed=5, lengths=counts[1])
    q, exact = bfloat16_query(3, 1, 16, 512)
    k_cache, indices = as_torch(cache)
    extra_k_cache, extra_indices = as_torch(extra)
    sinks = np.linspace(-3, 3, 16, dtype=np.float32)
    sinks[:2] = np.inf, -np.inf
    sched_meta, _ = get_mla_metadata()
    for _ in range(2):
        got = flash_mla_with_kvcache(
            q,
            k_cache,
            None,
            None,
            512,
            sched_meta,
            is_fp8_kvcache=True,
            indices=indices,
            attn_sink=torch.from_numpy(sinks),
            extra_k_cache=extra_k_cache,
            extra_indices_in_kvcache=extra_indices,
            topk_length=torch.from_numpy(counts[0]),
            extra_topk_length=torch.from_numpy(counts[1]),
        )
        expected = attend(exact, [cache, extra], scale=512**-0.5, sinks=sinks)[:2]
        assert np.isinf(expected[1][1]).all()
        assert_near(numbers(got), expected, infinity=np.inf)


def test_a_cache_in_bfloat16_which_flash_mla_has_not():
    cache = Cache((2, 1, 30), "bfloat16", 576)
    q, exact = bfloat16_query(2, 1, 5, 576)
    k_cache = torch.from_numpy(cache.array.view(np.int16)).view(torch.bfloat16)
    got = flash_mla_with_kvcache(
        q,
        k_cache,
        None,
        None,
        512,
        get_mla_metadata()[0],
        indices=torch.from_numpy(cache.indices),
    )
    assert_near(numbers(got), attend(exact, [cache], scale=576**-0.5)[:2], infinity=np.inf)


def test_prefill():
    lengths = np.array([50, 0, 1, 20, 50, 49, 3], np.int32)
    cache = Cache((7, 1, 50), "float32", 576, page_size=1, pages=130, lengths=lengths)
    q = query((7, 1, 5, 576))
    sinks = np.array([0, 3, -3, np.inf, -np.inf], np.float32)
    kv = torch.from_numpy(cache.array.reshape(130, 1, 576))
    tensors = [torch.from_numpy(array) for array in (q[:, 0], cache.indices, sinks, lengths)]
    got = flash_mla_sparse_fwd(tensors[0], kv, tensors[1], SCALE, 512, tensors[2], tensors[3])
    out, lse, largest = attend(q, [cache], sinks=sinks)
    assert_near((got[0], got[2]), (out[:, 0], lse[:, :, 0]), infinity=np.inf)
    np.testing.assert_allclose(got[1], largest[:, :, 0], rtol=1e-5, atol=1e-6)
    with pytest.raises(NotImplementedError, match="indexer_topk = 512, allowed: 0"):
        flash_mla_sparse_fwd(tensors[0], kv, tensors[1], SCALE, indexer_topk=512)


def test_compiled_without_a_graph_break():
    cache = Cache((2, 1, 30), "float32", 576)
    q = torch.from_numpy(query((2, 1, 4, 576)))
    k_cache, indices = as_torch(cache)
    sched_meta, _ = get_mla_metadata()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(q, k_cache, indices):
        return flash_mla_with_kvcache(
            q + 0, k_cache, None, None, 512, sched_meta, softmax_scale=SCALE, indices=indices
        )

    expected = attend(q.numpy(), [cache])[:2]
    assert_near(compiled(q, k_cache, indices), expected, infinity=np.inf)


def test_mistakes_are_named():
    cache = Cache((2, 1, 30), "float32", 576)
    q = torch.from_numpy(query((2, 1, 4, 576)))
    k_cache, indices = as_torch(cache)
    sched_meta, _ = get_mla_metadata()

    def refused(error, pattern, metadata=sched_meta, cache=k_cache, **more):
        with pytest.raises(error, match=pattern):
            flash_mla_with_kvcache(
                q, cache, None, None, 512, metadata, **{"indices": indices, **more}
            )

    refused(ValueError, "causal = True with indices, allowed: False", causal=True)
    refused(TypeError, "tile_scheduler_metadata is missing", metadata=None)
    refused(ValueError, "k_cache of 576 bytes a token with is_fp8_kvcache", is_fp8_kvcache=True)
    refused(ValueError, "extra_k_cache without extra_indices_in_k", extra_k_cache=k_cache)
    refused(
        ValueError, "extra_indices_in_kvcache without extra_k", extra_indices_in_kvcache=indices
    )
    refused(TypeError, "indices has dtype int16", indices=indices.short())
    dense = torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    metadata, _ = get_mla_metadata()
    flash_mla_with_kvcache(q, k_cache, *dense, 512, metadata)
    refused(ValueError, "FlashMLASchedMeta of dense_decode, allowed: one of sparse", metadata)
    flash_mla_with_kvcache(q, k_cache, None, None, 512, sched_meta, indices=indices)
    refused(ValueError, "q has shape|indices has shape", indices=indices[:, :, :7].contiguous())
