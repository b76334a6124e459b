"""PyTorch tensors on a GPU: results, streams, graphs, devices, memory."""

import pytest
import seesaw
import torch
from gpu.grid import DEVICE, SCALE, GpuCase, Shape, assert_close, sample_of_the_grid


@pytest.mark.parametrize("shape", sample_of_the_grid(160), ids=str)
def test_agrees_with_float64(shape):
    case = GpuCase(shape)
    out, lse = case.poisoned_outputs()
    seesaw.dense_decode(*case.arrays, out=out, lse=lse, scale=SCALE, causal=shape.causal)
    assert_close((out, lse), case.expected())


@pytest.mark.parametrize("page_size", [64, 128, 256])
@pytest.mark.parametrize("d_qk", [576, 512])
def test_page_sizes_and_dims(page_size, d_qk):
    case = GpuCase(Shape(3, 1, 500, 64, page_size=page_size, d_qk=d_qk, varied=True))
    assert_close(seesaw.dense_decode(*case.arrays, scale=SCALE), case.expected())


def test_non_contiguous_inputs_and_a_cache_of_several_layers():
    case = GpuCase(Shape(4, 2, 300, 32, varied=True, causal=True))
    q = torch.cat([case.q, case.q], dim=2)[:, :, : case.shape.h_q]
    pool = torch.full(
        (case.kv_cache.shape[0], 3, *case.kv_cache.shape[1:]),
        float("nan"),
        dtype=case.kv_cache.dtype,
        device=DEVICE,
    )
    pool[:, 1] = case.kv_cache
    table = torch.cat([case.block_table, case.block_table], dim=1)[:, : case.block_table.shape[1]]
    got = seesaw.dense_decode(q, pool[:, 1], table, case.seq_lens, scale=SCALE, causal=True)
    assert_close(got, case.expected())


def test_same_bits_every_time():
    case = GpuCase(Shape(6, 1, 4096, 128, varied=True))
    first = seesaw.dense_decode(*case.arrays, scale=SCALE)
    for _ in range(20):
        again = seesaw.dense_decode(*case.arrays, scale=SCALE)
        assert all(torch.equal(a, b) for a, b in zip(first, again))


def test_inputs_made_on_a_second_stream():
    """The call follows the current stream: it waits for inputs still being written there."""
    case = GpuCase(Shape(4, 1, 1000, 128))
    expected = case.expected()
    side = torch.cuda.Stream()
    late_q = torch.zeros_like(case.q)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)
        late_q.copy_(case.q)
        got = seesaw.dense_decode(late_q, *case.arrays[1:], scale=SCALE)
    side.synchronize()
    assert_close(got, expected)


def test_two_streams_at_once_share_a_schedule():
    case = GpuCase(Shape(8, 1, 2000, 64, varied=True))
    problem = seesaw.Problem.of(*case.arrays[:3])
    schedule = seesaw.make_schedule(problem, case.seq_lens)
    expected = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    results = []
    for _ in range(20):
        for stream in streams:
            with torch.cuda.stream(stream):
                results.append(seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE))
    torch.cuda.synchronize()
    assert all(torch.equal(out, expected[0]) for out, _ in results)


def test_graph_replays_with_other_lengths_and_a_smaller_batch():
    shape = Shape(8, 1, 1500, 128)
    case = GpuCase(shape)
    problem = seesaw.Problem.of(*case.arrays[:3], batch=8)
    schedule = seesaw.make_schedule(problem, case.seq_lens)
    out, lse = case.poisoned_outputs()
    workspace = torch.empty(seesaw.workspace_size(schedule), dtype=torch.uint8, device=DEVICE)

    def step():
        schedule.update(case.seq_lens)
        for buffer in (workspace, None):
            seesaw.dense_decode(
                *case.arrays, schedule=schedule, out=out, lse=lse, workspace=buffer, scale=SCALE
            )

    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for lengths in ([1500] * 8, [1, 0, 64, 65, 700, 1500, 3, 128], [9, 8, 7, 0, 0, 0, 0, 0]):
        case.seq_lens.copy_(torch.tensor(lengths, dtype=torch.int32))
        out.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        assert_close((out, lse), case.expected())


def test_decoding_loop_allocates_nothing_new():
    """60 layers, one schedule, growing lengths, 1,000 steps."""
    layers = 60
    case = GpuCase(Shape(4, 1, 1100, 16), lengths=[1100] * 4)
    case.kv_cache.nan_to_num_(0.0)
    lengths = torch.tensor([1, 20, 64, 100], dtype=torch.int32, device=DEVICE)
    problem = seesaw.Problem.of(*case.arrays[:3], causal=True)
    schedule = seesaw.make_schedule(problem, lengths)
    out, lse = case.poisoned_outputs()

    def step():
        schedule.update(lengths)
        for _ in range(layers):
            seesaw.dense_decode(
                *case.arrays[:3], lengths, schedule=schedule, out=out, lse=lse, scale=SCALE
            )
        lengths.add_(1)

    for _ in range(10):
        step()
    torch.cuda.synchronize()
    before = (
        torch.cuda.memory_allocated(),
        torch.cuda.memory_reserved(),
        torch.cuda.mem_get_info()[0],
    )
    for _ in range(990):
        step()
    torch.cuda.synchronize()
    after = (
        torch.cuda.memory_allocated(),
        torch.cuda.memory_reserved(),
        torch.cuda.mem_get_info()[0],
    )
    assert after == before
    case.seq_lens = lengths - 1
    assert_close((out, lse), case.expected())


def test_wrong_devices_are_refused():
    case = GpuCase(Shape(2, 1, 100, 16))
    q, kv_cache, block_table, lengths = case.arrays
    with pytest.raises(ValueError, match="seq_lens is on cpu"):
        seesaw.dense_decode(q, kv_cache, block_table, lengths.cpu(), scale=SCALE)
    with pytest.raises(ValueError, match="kv_cache is on cpu"):
        seesaw.dense_decode(q, kv_cache.cpu(), block_table, lengths, scale=SCALE)
    with pytest.raises(ValueError, match="out is on cpu"):
        seesaw.dense_decode(*case.arrays, out=case.poisoned_outputs()[0].cpu(), scale=SCALE)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_device_of_the_tensors_not_the_current_one():
    case = GpuCase(Shape(2, 1, 300, 64), device="cuda:1")
    torch.cuda.set_device(0)
    got = seesaw.dense_decode(*case.arrays, scale=SCALE)
    assert torch.cuda.current_device() == 0 and got[0].device.index == 1
    assert_close(got, case.expected())


def test_compiles_without_a_graph_break():
    case = GpuCase(Shape(4, 1, 300, 64, varied=True))

    @torch.compile(fullgraph=True)
    def decode(q, *rest):
        return seesaw.dense_decode(q + 0, *rest, scale=SCALE)

    assert_close(decode(*case.arrays), case.expected())
