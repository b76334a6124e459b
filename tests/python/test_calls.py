"""What every operation's calls share: tensors by the table, buffers that last for a call."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case, assert_close
from seesaw import _call
from seesaw._fields import Arg, Operation
from seesaw._keys import flatten
from seesaw._library import BUFFERS_WANTED, library


def make_arg(name, **more):
    return Arg(
        **{
            **dict(name=name, shape="[b]", dtype="int32", use="in", optional=False),
            **dict(prepares=False, list=""),
            **more,
        }
    )


def test_a_list_is_its_length_and_its_tensors():
    lists = Operation(
        0,
        "of_lists",
        (),
        (make_arg("outs", list="n"), make_arg("lses", list="n"), make_arg("out")),
        ("scale",),
    )
    assert lists.has_lists
    assert list(flatten(lists, (["a", "b"], ("c", "d"), "e"))) == [2, "a", "b", 2, "c", "d", "e"]
    assert list(flatten(lists, (["a"],))) == [1, "a", 0, None]


def test_tensors_left_out_are_none():
    plain = Operation(0, "plain", (), (make_arg("q"), make_arg("out", optional=True)), ())
    assert list(flatten(plain, ("q",))) == ["q", None]
    assert flatten(plain, ("q", None)) == ("q", None)


@pytest.mark.parametrize("given", [(), ("schedule",), ("workspace",), ("schedule", "workspace")])
def test_buffers_of_an_array_library_without_an_allocator(monkeypatch, given):
    """CuPy's case, played by NumPy: the native module has no memory, so Python brings it."""
    case = Case([300, 20], h_q=8)
    problem = seesaw.Problem.of(*case.arrays[:3])
    schedule = seesaw.make_schedule(problem, case.lengths)
    workspace = np.empty(seesaw.workspace_size(schedule), np.uint8)
    buffers = {"schedule": schedule, "workspace": workspace}
    calls = []

    def run_without_memory(key, stream, bits, brought_schedule, brought_workspace, *rest):
        calls.append(key)
        if brought_schedule is None or brought_workspace is None:
            return BUFFERS_WANTED
        return library.run(key, stream, bits, brought_schedule, brought_workspace, *rest)

    stub = SimpleNamespace(
        run=run_without_memory,
        run_tensors=lambda *arguments: BUFFERS_WANTED,
        schedule_bytes=library.schedule_bytes,
    )
    monkeypatch.setattr(_call, "library", stub)
    monkeypatch.setattr(library, "run_scheduled", lambda *arguments: BUFFERS_WANTED)
    wanted = {name: buffers[name] for name in given}
    got = seesaw.dense_decode(*case.arrays, scale=SCALE, **wanted)
    assert_close(got, case.expected())
    assert calls


def planned(case, **options):
    return seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths, **options)


def test_a_layer_is_one_call_of_the_native_module(monkeypatch):
    """With a schedule and plain arrays, nothing of what other calls need is in the way."""
    case = Case([300, 20], h_q=8)
    schedule = planned(case)
    out, lse = case.poisoned_outputs()
    want = case.expected()
    monkeypatch.setattr(_call, "library", None)
    got = seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=schedule, out=out, lse=lse)
    assert got[0] is out and got[1] is lse
    assert_close(got, want)
    for given in ({}, {"out": out}, {"lse": lse}):
        got = seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=schedule, **given)
        assert (got[0] is out, got[1] is lse) == ("out" in given, "lse" in given)
        assert_close(got, want)


def test_a_refused_layer_is_refused_once():
    case = Case([300, 20], h_q=8)
    schedule = planned(case)
    shorter = np.zeros((2, 1, 7, 512), np.float32)

    def refused():
        return sum(row.calls["run"]["invalid_argument"] for row in seesaw.stats())

    before = refused()
    with pytest.raises(ValueError, match="dense_decode: out"):
        seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=schedule, out=shorter)
    assert refused() == before + 1


def test_what_run_scheduled_takes():
    case = Case([300, 20], h_q=8)
    schedule = planned(case)
    out, lse = case.poisoned_outputs()
    head = library.head(schedule.key, schedule.buffer)
    assert head.endswith(schedule.key) and head == schedule.make_head()
    numbers, tensors = (SCALE, 0.0), (*case.arrays, out, lse)
    assert library.run_scheduled(head, None, *numbers, *tensors) == 0  # the others left out
    assert_close((out, lse), case.expected())
    assert library.run_scheduled(head, None, *numbers, *tensors, *[None] * 5) == 0
    for broken in (head[:8], head[:-1], schedule.key):
        with pytest.raises(RuntimeError, match="a key of .* bytes"):
            library.run_scheduled(broken, None, *numbers, *tensors)
    with pytest.raises(TypeError, match="seesaw_ffi: 8 arguments"):
        library.run_scheduled(head, None, *numbers, *tensors[:4])


def test_a_copy_of_a_schedule_does_not_run_on_the_memory_of_the_first():
    """Its head says where the first one's buffer is."""
    case = Case([300, 20], h_q=8)
    schedule = planned(case)
    want = seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=schedule)
    assert schedule.head is not None
    other = copy.copy(schedule)
    assert other.buffer is schedule.buffer
    got = seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=other)
    assert all(np.array_equal(a, b) for a, b in zip(got, want))
    with pytest.raises(ValueError, match="a schedule of dense_decode, allowed"):
        seesaw.dense_decode(*case.arrays, scale=SCALE, schedule=copy.deepcopy(schedule))
