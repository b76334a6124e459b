"""A GPU at the edges of float, and schedules that are not the call's: tests/emulator/edges_test.cpp,
where there is a GPU."""

import math

import pytest
import seesaw
import torch
from gpu.grid import DEVICE, SCALE, GpuCase, Shape

BF16 = torch.bfloat16


def scored(keys: list, query: float = 1.0, dtype: torch.dtype = BF16):
    """Queries that read column 575 alone, times `query`, and keys with these numbers there."""
    pages = -(-len(keys) // 64)
    q = torch.zeros(1, 1, 16, 576, dtype=dtype, device=DEVICE)
    q[..., 575] = query
    kv_cache = (torch.randn(pages, 64, 1, 576, device=DEVICE) * 0.1).to(dtype)
    kv_cache.view(-1, 576)[: len(keys), 575] = torch.tensor(keys, dtype=dtype, device=DEVICE)
    block_table = torch.arange(pages, dtype=torch.int32, device=DEVICE).view(1, pages)
    return q, kv_cache, block_table, torch.tensor([len(keys)], dtype=torch.int32, device=DEVICE)


def reference(q, kv_cache, block_table, seq_lens, scale, causal=False):
    """One sequence in float64."""
    keys = kv_cache[block_table[0].long()].reshape(-1, 576)[: int(seq_lens[0])].double()
    scores = q[0].double() @ keys.T * scale  # [s_q, h_q, keys]
    if causal:
        s_q = q.shape[1]
        sees = torch.arange(len(keys), device=DEVICE)[None] <= (
            len(keys) - s_q + torch.arange(s_q, device=DEVICE)[:, None]
        )
        scores = scores.masked_fill(~sees[:, None], -math.inf)
    weights = scores.softmax(-1)
    values = keys[:, :512]
    if causal:  # an unseen value is not there, not multiplied by 0
        out = torch.stack([w[:, s] @ values[s] for w, s in zip(weights, sees)])
    else:
        out = weights @ values
    return out[None], scores.logsumexp(-1).permute(1, 0)[None]


def assert_close(got: tuple, expected: tuple) -> None:
    """NaN where NaN is expected; values here are at most 1, and keep two bits more than bf16."""
    for mine, truth, atol in zip(got, expected, (2e-3, 1e-4)):
        torch.testing.assert_close(mine.double(), truth, rtol=2**-7, atol=atol, equal_nan=True)


@pytest.mark.parametrize("score", [-2e38, -1e38, 1e38, 2e38])
def test_scores_at_the_ends_of_float_are_scores(score):
    case = scored([score] * 200)
    assert_close(seesaw.dense_decode(*case, scale=1.0), reference(*case, 1.0))


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-39, -1e-38, 1e-37, -1e-30])
def test_scales_near_zero_and_zero(scale):
    keys = [2.5e38] * 130
    keys[7], keys[100] = -2.5e38, 1.0
    case = scored(keys)
    assert_close(seesaw.dense_decode(*case, scale=scale), reference(*case, scale))


def test_products_that_overflow_float():
    case = scored([1e19] * 70, query=1e20)
    assert_close(seesaw.dense_decode(*case, scale=1e-38), reference(*case, 1e-38))


@pytest.mark.parametrize("length", [64, 128, 200, 4000])
def test_infinite_values_show_in_their_column(length):
    q = torch.zeros(1, 3, 16, 576, dtype=BF16, device=DEVICE)
    q[..., 40] = 1
    _, kv_cache, block_table, seq_lens = scored([0.0] * length)
    kv_cache.view(-1, 576)[length - 2, 40] = -math.inf  # query tokens 1 and 2 see it
    case = (q, kv_cache, block_table, seq_lens)
    out, lse = seesaw.dense_decode(*case, scale=SCALE, causal=True)
    assert_close((out, lse), reference(*case, SCALE, causal=True))
    nan = out.isnan()
    assert bool(nan[:, 1:, :, 40].all()) and int(nan.sum()) == 2 * 16


# ---- schedules


def expect_report(call, words: str) -> None:
    """The outputs of the run before were NaN; the next call says why, once."""
    torch.cuda.synchronize()
    with pytest.raises(ValueError, match=words):
        call()
    call()


def test_a_schedule_of_zeros_is_refused():
    case = GpuCase(Shape(3, 1, 1000, 64, varied=True))
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.seq_lens)
    schedule.buffer.zero_()
    out, lse = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    assert bool(out.isnan().all()) and bool(lse.isnan().all())
    expect_report(
        lambda: seesaw.dense_decode(*case.arrays, scale=SCALE),
        "a schedule that its plan did not make",
    )


def test_a_schedule_of_other_lengths_is_found_also_in_a_graph():
    case = GpuCase(Shape(3, 1, 1000, 64))
    problem = seesaw.Problem.of(*case.arrays[:3])
    schedule = seesaw.make_schedule(problem, case.seq_lens)
    out, lse = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    right = out.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE, out=out, lse=lse)
    case.seq_lens[1] -= 200
    graph.replay()
    assert bool(out[1].isnan().all())
    assert torch.equal(out[0], right[0]) and torch.equal(out[2], right[2])
    expect_report(
        lambda: seesaw.dense_decode(*case.arrays, scale=SCALE), "a schedule made for other lengths"
    )
