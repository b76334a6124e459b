"""The drop-in for flash_mla on a GPU, also inside CUDA graphs."""

import pytest
import torch
from gpu.grid import SCALE, GpuCase, Shape, assert_close
from seesaw.compat.flash_mla import flash_mla_with_kvcache, get_mla_metadata

INFINITY = float("inf")


@pytest.mark.parametrize("form", ["older", "current"])
def test_layers_of_a_step(form):
    case = GpuCase(Shape(6, 2, 700, 128, varied=True, causal=True))
    arguments = (case.seq_lens, 2 * 128, 1) if form == "older" else ()
    metadata, num_splits = get_mla_metadata(*arguments)
    for _ in range(3):
        got = flash_mla_with_kvcache(*case.arrays, 512, metadata, num_splits, SCALE, True)
        assert_close(got, case.expected(), INFINITY)


@pytest.mark.parametrize("form", ["older", "current"])
def test_graph_schedules_the_lengths_of_each_replay(form):
    case = GpuCase(Shape(4, 1, 900, 128))

    def step():
        arguments = (case.seq_lens, 128, 1) if form == "older" else ()
        metadata, num_splits = get_mla_metadata(*arguments)
        for _ in range(2):
            result = flash_mla_with_kvcache(*case.arrays, 512, metadata, num_splits, SCALE)
        return result

    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = step()
    for lengths in ([900, 900, 900, 900], [1, 0, 64, 65], [300, 20, 899, 128]):
        case.seq_lens.copy_(torch.tensor(lengths, dtype=torch.int32))
        graph.replay()
        torch.cuda.synchronize()
        assert_close(got, case.expected(), INFINITY)


def test_older_form_with_persistent_buffers():
    """Metadata captured in fixed buffers that are refilled before each replay."""
    case = GpuCase(Shape(4, 1, 900, 64))
    metadata, num_splits = get_mla_metadata(case.seq_lens, 64, 1)
    flash_mla_with_kvcache(*case.arrays, 512, metadata, num_splits, SCALE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = flash_mla_with_kvcache(*case.arrays, 512, metadata, num_splits, SCALE)
    for lengths in ([900, 0, 5, 64], [2, 2, 2, 2]):
        case.seq_lens.copy_(torch.tensor(lengths, dtype=torch.int32))
        fresh, fresh_splits = get_mla_metadata(case.seq_lens, 64, 1)
        metadata.copy_(fresh)
        num_splits.copy_(fresh_splits)
        graph.replay()
        torch.cuda.synchronize()
        assert_close(got, case.expected(), INFINITY)
