"""What dense_decode takes besides, on PyTorch's CPU tensors and as operators."""

import numpy as np
import pytest
import seesaw
import seesaw.torch  # registers the operators
import torch
from cases import SCALE, Case


@pytest.fixture(name="everything")
def _everything():
    """(tensors, settings) of all at once."""
    rng = np.random.default_rng(1)
    case = Case([200, 70, 5, 0], s_q=5, h_q=6, causal=True)
    tensors = {
        "tree_mask": torch.from_numpy(rng.integers(0, 256, (4, 5, 1), np.uint8)),
        "sinks": torch.randn(6),
        "max_logits": torch.full((4, 6, 5), float("nan")),
    }
    settings = {"scale": SCALE, "causal": True, "window": 60, "soft_cap": 1.5}
    return [torch.from_numpy(array) for array in case.arrays], tensors, settings


def as_numpy(tensors):
    return {name: tensor.numpy().copy() for name, tensor in tensors.items()}


def test_bits_are_those_of_numpy(everything):
    arrays, tensors, settings = everything
    arrays_of_numpy = [array.numpy() for array in arrays]
    wanted = seesaw.dense_decode(*arrays_of_numpy, **as_numpy(tensors), **settings)
    got = seesaw.dense_decode(*arrays, **tensors, **settings)
    assert got[2] is tensors["max_logits"]
    for a, b in zip(got, wanted):
        np.testing.assert_array_equal(a.numpy(), b)


def test_compiled_is_eager(everything):
    arrays, tensors, settings = everything
    more = {name: tensors[name] for name in ("tree_mask", "sinks")}
    eager = seesaw.dense_decode(*arrays, **more, **settings, return_max_logits=True)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(q, *rest):
        return seesaw.dense_decode(q, *rest, **more, **settings, return_max_logits=True)

    for a, b in zip(compiled(*arrays), eager):
        assert torch.equal(a, b)


def test_ragged_compiled_is_eager():
    case = Case([200, 70], s_q=4, h_q=6, causal=True)
    q, *rest = (torch.from_numpy(array) for array in case.arrays)
    begins = torch.tensor([0, 1, 5], dtype=torch.int32)
    q = q.reshape(8, 6, 576)[:5].contiguous()
    settings = {"scale": SCALE, "causal": True, "cu_seqlens_q": begins}
    eager = seesaw.dense_decode(q, *rest, s_q=4, **settings)
    assert eager[0].shape == (5, 6, 512) and eager[1].shape == (6, 5)
    problem = seesaw.Problem.of(
        None, *rest[:2], q_dtype="float32", h_q=6, s_q=4, ragged=True, causal=True
    )
    schedule = seesaw.make_schedule(problem, rest[2])

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(q, *rest):
        return seesaw.dense_decode(q, *rest, s_q=4, **settings)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def scheduled(q, *rest):
        return seesaw.dense_decode(q, *rest, schedule=schedule, **settings)

    for function in (compiled, scheduled):
        for a, b in zip(function(q, *rest), eager):
            assert torch.equal(a, b)


def test_operator_checks(everything):
    arrays, tensors, _ = everything
    outputs = (torch.empty(4, 5, 6, 512), torch.empty(4, 6, 5))
    named = {**tensors, "soft_cap": 1.5, "window": 60}
    torch.library.opcheck(
        torch.ops.seesaw.dense_decode_out.default, (*arrays, *outputs, SCALE), named
    )
    named.pop("max_logits")
    torch.library.opcheck(torch.ops.seesaw.dense_decode.default, (*arrays, SCALE), named)
