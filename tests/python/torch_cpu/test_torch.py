"""The API on PyTorch's CPU tensors, and the operators for torch.compile."""

import pytest
import seesaw
import seesaw.torch  # registers the operators
import torch
from cases import SCALE, Case, assert_close


def as_torch(case, dtype=None):
    q, kv_cache, block_table, lengths = (torch.from_numpy(array) for array in case.arrays)
    if dtype is not None:
        q, kv_cache = q.to(dtype), kv_cache.to(dtype)
    return q, kv_cache, block_table, lengths


def rounded(case, dtype):
    """The case with the inputs that `dtype` holds, for the reference."""
    q, kv_cache, _, _ = as_torch(case, dtype)
    case.q, case.kv_cache = q.float().numpy(), kv_cache.float().numpy()
    case.dtype = str(dtype).removeprefix("torch.")
    return case


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_agrees_with_float64(dtype):
    case = Case([70, 0, 130], s_q=2, h_q=16, causal=True)
    out, lse = seesaw.dense_decode(*as_torch(case, dtype), scale=SCALE, causal=True)
    assert out.dtype == dtype and lse.dtype == torch.float32
    assert_close((out.float(), lse), rounded(case, dtype).expected())


def test_schedule_outputs_and_non_contiguous_inputs():
    case = Case([70, 300], h_q=8)
    q, kv_cache, block_table, lengths = as_torch(case)
    q = q.repeat_interleave(2, dim=2)[:, :, ::2]
    kv_cache = torch.stack([kv_cache, kv_cache * 0], dim=1)[:, 0]
    assert not q.is_contiguous() and not kv_cache.is_contiguous()
    problem = seesaw.Problem.of(q, kv_cache, block_table)
    schedule = seesaw.make_schedule(problem, lengths)
    out = torch.full((2, 1, 8, 512), float("nan"))
    lse = torch.full((2, 8, 1), float("nan"))
    workspace = torch.empty(seesaw.workspace_size(schedule), dtype=torch.uint8)
    seesaw.dense_decode(
        q,
        kv_cache,
        block_table,
        lengths,
        schedule=schedule,
        out=out,
        lse=lse,
        workspace=workspace,
        scale=SCALE,
    )
    assert_close((out, lse), case.expected())


def test_inputs_that_require_gradients_and_inference_tensors():
    case = Case([70, 3])
    q, *rest = as_torch(case)
    q.requires_grad_()
    assert_close(seesaw.dense_decode(q, *rest, scale=SCALE), case.expected())
    with torch.inference_mode():
        got = seesaw.dense_decode(*as_torch(case), scale=SCALE)
    assert_close(got, case.expected())


def test_errors_have_the_same_types_and_texts():
    q, kv_cache, block_table, lengths = as_torch(Case([70, 3]))
    with pytest.raises(TypeError, match="seq_lens has dtype int16, allowed"):
        seesaw.dense_decode(q, kv_cache, block_table, lengths.short(), scale=SCALE)
    with pytest.raises(TypeError, match="q has dtype float64, allowed"):
        seesaw.dense_decode(q.double(), kv_cache, block_table, lengths, scale=SCALE)
    with pytest.raises(ValueError, match=r"seq_lens\[0\] = 1000, allowed: 0 to 192"):
        seesaw.dense_decode(q, kv_cache, block_table, lengths.new_tensor([1000, 3]), scale=SCALE)
    with pytest.raises(TypeError, match="meta, allowed: cpu, cuda"):
        seesaw.dense_decode(q.to("meta"), kv_cache, block_table, lengths, scale=SCALE)


def test_operator_checks():
    q, kv_cache, block_table, lengths = as_torch(Case([70, 3]))
    arguments = (q, kv_cache, block_table, lengths)
    torch.library.opcheck(torch.ops.seesaw.dense_decode.default, (*arguments, SCALE))
    outputs = (torch.empty(2, 1, 16, 512), torch.empty(2, 16, 1))
    torch.library.opcheck(torch.ops.seesaw.dense_decode_out.default, (*arguments, *outputs, SCALE))
    parts = [torch.randn(3, 1, 2, 8) for _ in range(2)], [torch.randn(3, 1, 2) for _ in range(2)]
    merged = (torch.empty(3, 1, 2, 8), torch.empty(3, 1, 2))
    torch.library.opcheck(torch.ops.seesaw.merge_states_out.default, (*parts, *merged))
    schedule = seesaw.make_schedule(seesaw.Problem.of(*arguments[:3]), lengths)
    torch.library.opcheck(
        torch.ops.seesaw.prepare.default, (lengths, schedule.buffer, schedule.key_text)
    )


def test_compiles_without_a_graph_break():
    case = Case([70, 130], s_q=2, causal=True)
    schedule = seesaw.make_schedule(
        seesaw.Problem.of(*as_torch(case)[:3], causal=True, batch=5), as_torch(case)[3]
    )

    def plain(q, *rest):
        out, lse = seesaw.dense_decode(q + 0, *rest, scale=SCALE, causal=True)
        return out.contiguous(), lse

    def scheduled(q, *rest):
        for _ in range(2):
            out, lse = seesaw.dense_decode(q + 0, *rest, scale=SCALE, schedule=schedule)
        return out.contiguous(), lse

    def operator(q, *rest):
        return torch.ops.seesaw.dense_decode(q + 0, *rest, scale=SCALE, causal=True)

    # Inductor's C++ compiler once: what differs between the three is over before it.
    for function, backend in (
        (plain, "inductor"),
        (scheduled, "aot_eager"),
        (operator, "aot_eager"),
    ):
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        got = compiled(*as_torch(case))
        assert_close(got, case.expected())
        assert torch.equal(got[0], function(*as_torch(case))[0])


def test_compiled_with_preallocated_outputs():
    case = Case([70, 130])

    @torch.compile(fullgraph=True)
    def decode(out, lse, *arrays):
        seesaw.dense_decode(*arrays, out=out, lse=lse, scale=SCALE)
        return out + 0

    out, lse = torch.full((2, 1, 16, 512), float("nan")), torch.full((2, 16, 1), float("nan"))
    decode(out, lse, *as_torch(case))
    assert_close((out, lse), case.expected())
