"""What every operation's calls share: tensors by the table, buffers that last for a call."""

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
    wanted = {name: buffers[name] for name in given}
    got = seesaw.dense_decode(*case.arrays, scale=SCALE, **wanted)
    assert_close(got, case.expected())
    assert calls
