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


@pytest.mark.parametrize("with_schedule", [False, True])
def test_lse_of_tokens_first_compiled_and_eager(with_schedule):
    case = Case([200, 70], s_q=3, h_q=6)
    arrays = [torch.from_numpy(array) for array in case.arrays]
    more = {"scale": SCALE, "return_max_logits": True}
    if with_schedule:
        problem = seesaw.Problem.of(*arrays[:3], max_logits=True)
        more["schedule"] = seesaw.make_schedule(problem, arrays[3])
    want = seesaw.dense_decode(*arrays, **more)
    eager = seesaw.dense_decode(*arrays, **more, lse_layout="bsh")
    assert eager[1].is_contiguous()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(*arrays):
        return seesaw.dense_decode(*arrays, **more, lse_layout="bsh")

    for got in (eager, compiled(*arrays)):
        assert torch.equal(got[0], want[0])
        for mine, theirs in zip(got[1:], want[1:]):
            assert torch.equal(mine, theirs.transpose(1, 2))
    mine = torch.full((2, 3, 6), float("nan"))
    got = seesaw.dense_decode(*arrays, **more, lse=mine, lse_layout="bsh")
    assert got[1] is mine and mine._version == 1
    assert torch.equal(mine, eager[1])


def test_dtypes_and_devices_as_pytorch_has_them():
    named = seesaw.Problem(batch=2, h_q=4, q_dtype="bfloat16", kv_format="float16")
    asked = seesaw.Problem(batch=2, h_q=4, q_dtype=torch.bfloat16, kv_format=torch.float16)
    assert asked == named and asked.q_dtype == "bfloat16"
    assert seesaw.Options(device=torch.device("cuda", 1)).device == "cuda:1"
    assert seesaw.Options(device=torch.device("cpu")) == seesaw.Options(device="cpu")
    problem = seesaw.Problem(batch=2, h_q=4, q_dtype=torch.bfloat16, max_pages_per_sequence=1)
    on_cpu = seesaw.explain(problem, device=torch.device("cpu"))
    assert on_cpu == seesaw.explain(problem, device="cpu") and on_cpu.kernel
    for wrong in (torch.int32, torch.float64):
        with pytest.raises(TypeError, match="q_dtype = torch.*, allowed: "):
            seesaw.Problem(batch=2, h_q=4, q_dtype=wrong)
    with pytest.raises(ValueError, match='device = "meta", allowed'):
        seesaw.Options(device=torch.device("meta"))
