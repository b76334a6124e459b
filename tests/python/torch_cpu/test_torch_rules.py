"""What PyTorch expects of a function that reads and writes its tensors: tracers see it, writes are
counted, lazily negated views are what they say."""

import pytest
import seesaw
import torch
from cases import SCALE, Case, assert_close
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode


def as_torch(case):
    return [torch.from_numpy(array) for array in case.arrays]


def decode(*arrays, **more):
    return seesaw.dense_decode(*arrays, scale=SCALE, **more)


def merge(*parts, **more):
    return seesaw.merge_states(parts[:2], parts[2:], lse_layout="th", **more)


def parts_of_a_merge():
    outs = [torch.randn(3, 2, 8) for _ in range(2)]
    return [*outs, *(torch.randn(3, 2) for _ in range(2))]


CALLS = {
    "dense_decode": (decode, lambda: as_torch(Case([70, 3], h_q=4)), "seesaw.dense_decode_out"),
    "merge_states": (merge, parts_of_a_merge, "seesaw.merge_states_out"),
}


@pytest.mark.parametrize("name", CALLS)
def test_traced_graphs_hold_the_operator(name):
    function, make, operator = CALLS[name]
    arguments = make()
    expected = function(*arguments)
    for tracing_mode in ("real", "fake"):
        graph = make_fx(lambda *t: function(*t), tracing_mode=tracing_mode)(*arguments)
        targets = [str(node.target) for node in graph.graph.nodes]
        assert any(operator in target for target in targets), targets
        for got, want in zip(graph(*arguments), expected):
            assert torch.equal(got, want)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for got, want in zip(compiled(*arguments), expected):
        assert torch.equal(got, want)


def test_legacy_traces_hold_the_operator():
    arguments = as_torch(Case([70, 3], h_q=4))
    traced = torch.jit.trace(lambda *t: decode(*t)[0], arguments, check_trace=False)
    assert "seesaw::dense_decode_out" in str(traced.graph)
    assert torch.equal(traced(*arguments), decode(*arguments)[0])


@pytest.mark.parametrize("name", CALLS)
def test_any_dispatch_mode_sees_the_operator(name):
    function, make, operator = CALLS[name]
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    arguments = make()
    expected = function(*arguments)
    with Watch():
        got = function(*arguments)
    assert any(operator in name for name in seen), seen
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


def test_fake_tensors_have_shapes_only():
    mode = FakeTensorMode()
    arguments = [mode.from_tensor(tensor) for tensor in as_torch(Case([70, 3], h_q=4))]
    out, lse = decode(*arguments)  # outside of the mode, too
    assert isinstance(out, torch._subclasses.FakeTensor)
    assert out.shape == (2, 1, 4, 512) and lse.shape == (2, 4, 1)


def test_transforms_are_refused():
    arguments = as_torch(Case([70, 3], h_q=4))
    batched = [torch.stack([tensor, tensor]) for tensor in arguments]
    with pytest.raises(RuntimeError):
        torch.vmap(lambda *t: decode(*t)[0])(*batched)


@pytest.mark.parametrize("schedule_too", [False, True])
def test_writes_are_counted(schedule_too):
    """autograd refuses to go back through a buffer that a later call overwrote."""
    q, *rest = as_torch(Case([64], h_q=2))
    out, lse = torch.zeros(1, 1, 2, 512), torch.zeros(1, 2, 1)
    more = {}
    if schedule_too:
        more["schedule"] = seesaw.make_schedule(seesaw.Problem.of(q, *rest[:2]), rest[2])
    w = torch.ones(1, 1, 2, 512, requires_grad=True)
    decode(q, *rest, out=out, lse=lse, **more)
    loss = (out * w).sum()
    versions = out._version, lse._version
    decode(q * -3, *rest, out=out, lse=lse, **more)
    assert out._version > versions[0] and lse._version > versions[1]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_writes_of_merges_and_operators_are_counted():
    outs, lses = [torch.randn(3, 2, 8) for _ in range(2)], [torch.randn(3, 2) for _ in range(2)]
    version = outs[0]._version
    seesaw.merge_states(outs, lses, lse_layout="th", out=outs[0])
    assert outs[0]._version > version
    arguments = as_torch(Case([64], h_q=2))
    out, lse = torch.zeros(1, 1, 2, 512), torch.zeros(1, 2, 1)
    torch.ops.seesaw.dense_decode_out(*arguments, out, lse, SCALE)
    assert out._version > 0 and lse._version > 0
    with torch.inference_mode():  # tensors without a version
        out, lse = torch.zeros(1, 1, 2, 512), torch.zeros(1, 2, 1)
        decode(*as_torch(Case([64], h_q=2)), out=out, lse=lse)


@pytest.mark.parametrize("how", ["alone", "operator", "schedule"])
def test_outputs_that_require_gradients_are_refused(how):
    arguments = as_torch(Case([64], h_q=2))
    more = {}
    if how == "schedule":
        more["schedule"] = seesaw.make_schedule(seesaw.Problem.of(*arguments[:3]), arguments[3])
    parameter = torch.nn.Parameter(torch.zeros(1, 1, 2, 512))
    lse = torch.zeros(1, 2, 1)
    pattern = "dense_decode: out requires a gradient, which this operation has not, allowed"
    with pytest.raises(ValueError, match=pattern):
        if how == "operator":
            torch.ops.seesaw.dense_decode_out(*arguments, parameter, lse, SCALE)
        else:
            decode(*arguments, out=parameter, lse=lse, **more)
    assert not parameter.any()
    outs, lses = [torch.randn(3, 2, 8) for _ in range(2)], [torch.randn(3, 2) for _ in range(2)]
    grown = torch.zeros(3, 2, requires_grad=True)
    with pytest.raises(ValueError, match="merge_states: lse requires a gradient"):
        seesaw.merge_states(outs, lses, lse_layout="th", lse=grown)


@pytest.mark.parametrize("place", range(2))
def test_lazily_negated_inputs_are_negated(place):
    arguments = as_torch(Case([70, 3], h_q=4))
    negated = list(arguments)
    negated[place] = torch._neg_view(arguments[place])
    plain = list(arguments)
    plain[place] = -arguments[place]
    expected = decode(*plain)
    for got, want in zip(decode(*negated), expected):
        assert torch.equal(got, want)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*negated[:3]), negated[3])
    assert torch.equal(decode(*negated, schedule=schedule)[0], expected[0])


@pytest.mark.parametrize("shape", [(1,), ()])
def test_a_lazily_negated_scale_of_a_layer_is_negated(shape):
    q, _, block_table, lengths = as_torch(Case([70, 3], h_q=4))
    cache = torch.randint(0, 100, (2 * block_table.shape[1], 64, 1, 576), dtype=torch.uint8)
    block_table = torch.arange(block_table.numel(), dtype=torch.int32).reshape(block_table.shape)
    problem = seesaw.Problem.of(q, cache, block_table, kv_format="fp8_576")
    schedule = seesaw.make_schedule(problem, lengths)
    half = torch.full(shape, 0.5)
    minus = torch._neg_view(-half)
    assert minus.is_neg()
    arguments = (q, cache, block_table, lengths)
    want = decode(*arguments, schedule=schedule, kv_scale=half)
    got = decode(*arguments, schedule=schedule, kv_scale=minus)
    assert all(torch.equal(a, b) for a, b in zip(got, want))
    other = decode(*arguments, schedule=schedule, kv_scale=-half)
    assert not torch.equal(other[0], want[0])


def test_lazily_negated_parts_and_outputs():
    outs = [torch.randn(3, 2, 8) for _ in range(2)]
    # What a program meets: the imaginary part of a conjugate, whose columns are 2 apart.
    waves = torch.randn(3, 2, dtype=torch.complex64).conj()
    assert waves.imag.is_neg()
    lses = [torch.randn(3, 2), waves.imag]
    got = seesaw.merge_states(outs, lses, lse_layout="th")
    expected = seesaw.merge_states(outs, [lses[0], lses[1].clone()], lse_layout="th")
    assert all(torch.equal(a, b) for a, b in zip(got, expected))
    with pytest.raises(ValueError, match="merge_states: lse is a lazily negated view, allowed"):
        seesaw.merge_states(outs, lses, lse_layout="th", lse=waves.imag)
    arguments = as_torch(Case([64], h_q=2))
    out = torch._neg_view(torch.zeros(1, 1, 2, 512))
    schedule = seesaw.make_schedule(seesaw.Problem.of(*arguments[:3]), arguments[3])
    for more in ({}, {"schedule": schedule}, {"schedule": schedule, "lse": torch.zeros(1, 2, 1)}):
        with pytest.raises(ValueError, match="dense_decode: out is a lazily negated view, allowed"):
            decode(*arguments, out=out, **more)
    with pytest.raises(TypeError, match="q has dtype complex64, allowed"):
        decode(arguments[0].to(torch.complex64).conj(), *arguments[1:])


@pytest.mark.parametrize("place", range(6))
def test_tensors_of_a_layer_are_tensors(place):
    """With a schedule, too, what is no tensor is named."""
    arguments = as_torch(Case([64], h_q=2))
    schedule = seesaw.make_schedule(seesaw.Problem.of(*arguments[:3]), arguments[3])
    tensors = [*arguments, torch.zeros(1, 1, 2, 512), torch.zeros(1, 2, 1)]
    name = ("q", "kv_cache", "block_table", "seq_lens", "out", "lse")[place]
    tensors[place] = [1.0]
    with pytest.raises(TypeError, match=f"dense_decode: {name} of type list, allowed: arrays of"):
        decode(*tensors[:4], schedule=schedule, out=tensors[4], lse=tensors[5])


def test_types_that_torch_has_and_the_library_has_not():
    q, kv_cache, block_table, lengths = as_torch(Case([70, 3], h_q=4))
    for _, arguments, pattern in (
        ("table", (q, kv_cache, block_table.short(), lengths), "block_table has dtype int16"),
        ("lengths", (q, kv_cache, block_table, lengths.short()), "seq_lens has dtype int16"),
    ):
        with pytest.raises(TypeError, match=f"{pattern}, allowed: int32, int64. Convert the arra"):
            decode(*arguments)
    with pytest.raises(TypeError, match="block_table of type list, allowed: arrays of"):
        decode(q, kv_cache, [[0, 1], [2, 3]], lengths)
    with pytest.raises(TypeError, match="q has layout torch.sparse_coo, allowed: torch.strided"):
        decode(q.to_sparse(), kv_cache, block_table, lengths)
    with pytest.raises(TypeError, match="out is a numpy.ndarray, allowed: arrays of torch"):
        decode(q, kv_cache, block_table, lengths, out=torch.zeros(2, 1, 4, 512).numpy())
    out = torch.zeros(2, 1, 4, 512, dtype=torch.uint16)
    with pytest.raises(TypeError, match="out has dtype uint16, allowed: float32, bfloat16"):
        decode(q.bfloat16(), kv_cache.bfloat16(), block_table, lengths, out=out)
    sizes = dict(batch=1, h_q=1, max_pages_per_sequence=1)
    problem = seesaw.Problem(**sizes, q_dtype=torch.bfloat16, kv_format=torch.float16)
    assert problem == seesaw.Problem(**sizes, q_dtype="bfloat16", kv_format="float16")


def test_update_of_a_schedule_inside_a_compiled_function():
    case = Case([300, 20], h_q=8)
    q, kv_cache, block_table, lengths = as_torch(case)
    schedule = seesaw.make_schedule(seesaw.Problem.of(q, kv_cache, block_table), lengths // 2)

    def step(q, kv_cache, block_table, lengths):
        schedule.update(lengths)
        return decode(q + 0, kv_cache, block_table, lengths, schedule=schedule)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert_close(compiled(q, kv_cache, block_table, lengths), case.expected())
    shorter = Case([250, 7], h_q=8)
    assert_close(compiled(*as_torch(shorter)), shorter.expected())
