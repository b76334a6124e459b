"""Queries in two tensors on a GPU: the same bits as of one, by every kernel; int64 on a stream."""

import pytest
import seesaw
import torch
from gpu.grid import DEVICE, SCALE, GpuCase, Shape

KERNELS = ["sm90.dense_decode.bf16", "sm90.dense_decode.rows", "sm80.dense_decode"]
SHAPES = [Shape(3, 1, 500, 64, varied=True), Shape(40, 2, 900, 16), Shape(2, 3, 4000, 24)]


def parts_of(q):
    """The latent part as a batched product leaves it, and a view; then both with odd strides."""
    latent = q[..., :512].movedim(2, 0).contiguous().movedim(0, 2)
    yield latent, q[..., 512:]
    odd = torch.full((*q.shape[:3], 579), float("nan"), dtype=q.dtype, device=DEVICE)
    odd[..., :512], odd[..., 513:577] = q[..., :512], q[..., 512:]
    yield odd[..., :512], odd[..., 513:577]


def assert_same(got, want):
    assert all(torch.equal(a, b) for a, b in zip(got, want))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_dense_decode(shape, kernel):
    q, *rest = GpuCase(shape).arrays
    whole = seesaw.dense_decode(q, *rest, scale=SCALE, kernel=kernel)
    for latent, rotary in parts_of(q):
        got = seesaw.dense_decode(latent, *rest, q_rotary=rotary, scale=SCALE, kernel=kernel)
        assert_same(got, whole)


@pytest.mark.parametrize("kernel", ["sm90.sparse_decode", "sm80.sparse_decode"])
def test_sparse_decode(kernel):
    q, cache, *_ = GpuCase(Shape(3, 2, 500, 24)).arrays
    slots = torch.arange(300, dtype=torch.int32, device=DEVICE).expand(3, 2, 300).contiguous()
    cache = torch.nan_to_num(cache)
    whole = seesaw.sparse_decode(q, cache, slots, scale=SCALE, kernel=kernel)
    for latent, rotary in parts_of(q):
        settings = {"q_rotary": rotary, "scale": SCALE, "kernel": kernel}
        assert_same(seesaw.sparse_decode(latent, cache, slots, **settings), whole)


def test_int64_inside_a_graph():
    q, cache, table, lengths = GpuCase(SHAPES[0]).arrays
    whole = seesaw.dense_decode(q, cache, table, lengths, scale=SCALE)
    wide = (table.long(), lengths.long())
    seesaw.dense_decode(q, cache, *wide, scale=SCALE)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = seesaw.dense_decode(q, cache, *wide, scale=SCALE)
    graph.replay()
    assert_same(got, whole)
