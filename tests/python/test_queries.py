"""What can be asked before anything runs."""

import dataclasses
import sys
from pathlib import Path

import pytest
import seesaw
from cases import Case
from seesaw._keys import read_key

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

import generate_tables  # noqa: E402

PROBLEM = seesaw.Problem(batch=4, h_q=128, max_pages_per_sequence=16)


def test_info_names_the_cpu_and_every_kernel():
    info = seesaw.info()
    assert info.devices[0].device == "cpu" and info.devices[0].usable
    assert kernels_of_the_operation()[-1] == "reference.dense_decode"
    assert info.max_threads >= 1
    for device in info.devices:
        assert device.usable or device.reason


def test_supports_lists_every_kernel_with_a_reason():
    answers = seesaw.supports(PROBLEM)
    assert [answer.kernel for answer in answers] == kernels_of_the_operation()
    assert all(answer.supported or answer.reason for answer in answers)
    assert answers[-1].supported


def kernels_of_the_operation():
    return [name for name in seesaw.info().kernels if name.split(".")[1] == "dense_decode"]


def test_explain_names_the_first_kernel_that_can():
    explanation = seesaw.explain(PROBLEM)
    first = next(answer.kernel for answer in seesaw.supports(PROBLEM) if answer.supported)
    assert explanation.kernel == first
    assert explanation.num_workers >= 1 and explanation.tile_tokens >= 1
    assert first in str(explanation)


def test_explain_without_a_kernel_keeps_the_reasons():
    explanation = seesaw.explain(PROBLEM, device="cuda:77")
    assert explanation.kernel is None and explanation.workspace_bytes is None
    assert all(answer.reason for answer in explanation.kernels)
    assert "none" in str(explanation)


def test_workspace_size_covers_the_plan():
    explanation = seesaw.explain(PROBLEM)
    if explanation.workspace_bytes:
        assert seesaw.workspace_size(PROBLEM) >= explanation.workspace_bytes
    else:
        assert seesaw.workspace_size(PROBLEM) == 0


def test_problem_of_arrays_is_the_problem_of_its_fields():
    case = Case([70, 3], h_q=6, h_kv=2, s_q=2, dtype="float16")
    untold = dict(causal=True, lse_base=2, empty_lse="+inf")
    problem = seesaw.Problem.of(*case.arrays[:3], d_v=100, batch=9, **untold)
    assert (problem.batch, problem.s_q, problem.h_q, problem.h_kv) == (9, 2, 6, 2)
    assert (problem.d_qk, problem.d_v, problem.page_size) == (576, 100, 64)
    assert (problem.q_dtype, problem.kv_format) == ("float16", "float16")
    for name, value in untold.items():
        assert getattr(problem, name) == value
    assert seesaw.Problem(**dataclasses.asdict(problem)) == problem


def test_a_schedule_keeps_its_problem_and_options():
    case = Case([70, 3], h_q=6, h_kv=2, s_q=2, dtype="float16")
    options = dict(batch_invariant=True, num_threads=1, kernel="reference.dense_decode")
    problem = seesaw.Problem.of(*case.arrays[:3], d_v=100, causal=True)
    schedule = seesaw.make_schedule(problem, case.lengths, **options)
    assert schedule.problem == problem
    assert schedule.options == seesaw.Options(device="cpu", **options)
    for question in (seesaw.explain, seesaw.workspace_size, seesaw.supports):
        assert question(schedule) == question(problem, **options)
        with pytest.raises(TypeError, match="num_threads given with a schedule"):
            question(schedule, num_threads=2)
    assert read_key(schedule.key) == (schedule.problem, schedule.options)


def test_devices_have_one_name():
    assert seesaw.Options(device="cuda") == seesaw.Options(device="cuda:0")
    assert seesaw.Options(device="cpu:0").device == seesaw.Options().device == "cpu"


def test_tables_are_what_the_library_says_of_itself():
    """The package's tables were made from the library that lies beside them."""
    package = Path(seesaw.__file__).parent
    (library,) = package.glob("libseesaw.so.*")
    text = generate_tables.generate(generate_tables.describe(str(library)))
    assert (package / "_tables.py").read_text() == text


def test_problems_are_values():
    assert PROBLEM == seesaw.Problem(batch=4, h_q=128, max_pages_per_sequence=16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROBLEM.batch = 5
