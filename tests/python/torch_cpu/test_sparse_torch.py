"""sparse_decode and sparse_prefill on PyTorch's CPU tensors, and their operators."""

import numpy as np
import pytest
import seesaw
import seesaw.torch  # registers the operators
import torch
from cases import SCALE
from sparse_cases import Cache, assert_near, attend, query


def inputs(lengths=None):
    cache = Cache((3, 2, 50), "float32", 576, lengths=lengths)
    q = query((3, 2, 4, 576))
    return q, cache, [torch.from_numpy(array) for array in (q, cache.array, cache.indices)]


def test_bfloat16_and_any_lse_strides():
    q, cache, (_, kv_cache, indices) = inputs()
    half = torch.from_numpy(q).bfloat16()
    lse = torch.empty(3, 2, 4).transpose(1, 2)
    out, written = seesaw.sparse_decode(half, kv_cache, indices, scale=SCALE, lse=lse)
    assert out.dtype == torch.bfloat16 and written is lse
    assert_near((out.float(), lse), attend(half.float().numpy(), [cache])[:2])


def test_operator_checks():
    _, _, (q, kv_cache, indices) = inputs()
    out, lse = torch.empty(3, 2, 4, 512), torch.empty(3, 4, 2)
    absent = [None] * 9
    torch.library.opcheck(
        torch.ops.seesaw.sparse_decode_out.default,
        (q, kv_cache, indices, out, lse, *absent, SCALE),
    )
    rows, lists = kv_cache.view(-1, 1, 576), indices[:, :1].contiguous()
    torch.library.opcheck(
        torch.ops.seesaw.sparse_prefill_out.default,
        (q[:, 0].contiguous(), rows, lists, out[:, 0].contiguous(), *absent[:6], SCALE),
    )
    problem = seesaw.SparseDecodeProblem.of(q, kv_cache, indices)
    schedule = seesaw.make_schedule(problem, indices)
    torch.library.opcheck(
        torch.ops.seesaw.sparse_decode_prepare.default,
        (indices, None, None, schedule.buffer, schedule.key_text),
    )


def test_compiles_without_a_graph_break():
    lengths = np.array([50, 0, 7], np.int32)
    q, cache, tensors = inputs(lengths)
    counts = torch.from_numpy(lengths)
    problem = seesaw.SparseDecodeProblem.of(*tensors, batch=5)
    schedule = seesaw.make_schedule(problem, tensors[2], counts)
    expected = attend(q, [cache])

    def plain(q, *rest):
        return seesaw.sparse_decode(
            q + 0, *rest, scale=SCALE, topk_length=counts, return_max_logits=True
        )

    def scheduled(q, kv_cache, indices):
        schedule.update(indices, counts)
        common = {"topk_length": counts, "return_max_logits": True}
        return seesaw.sparse_decode(
            q + 0, kv_cache, indices, scale=SCALE, schedule=schedule, **common
        )

    for function, backend in ((plain, "inductor"), (scheduled, "aot_eager")):
        assert_near(torch.compile(function, fullgraph=True, backend=backend)(*tensors), expected)


def test_prefill_compiles():
    q, cache, (query_tensor, kv_cache, indices) = inputs()
    rows, lists = kv_cache.view(-1, 576), indices[:, 0]

    def prefill(q):
        return seesaw.sparse_prefill(q[:, 0], rows, lists, scale=SCALE)

    compiled = torch.compile(prefill, fullgraph=True, backend="aot_eager")
    out, lse, _ = attend(q, [cache])
    assert_near(compiled(query_tensor), (out[:, 0], lse[:, :, 0]))


def test_fake_tensors_have_shapes_alone():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        q, kv_cache = torch.empty(3, 2, 4, 576), torch.empty(4, 64, 1, 576)
        indices = torch.empty(3, 2, 50, dtype=torch.int32)
        out, lse, largest = seesaw.sparse_decode(
            q, kv_cache, indices, scale=SCALE, return_max_logits=True
        )
    assert out.shape == (3, 2, 4, 512) and lse.shape == largest.shape == (3, 4, 2)


def test_errors_have_the_same_types_and_texts():
    _, _, (q, kv_cache, indices) = inputs()
    with pytest.raises(TypeError, match="indices has dtype int16"):
        seesaw.sparse_decode(q, kv_cache, indices.short(), scale=SCALE)
    with pytest.raises(TypeError, match="meta, allowed: cpu, cuda"):
        seesaw.sparse_decode(q.to("meta"), kv_cache, indices, scale=SCALE)
