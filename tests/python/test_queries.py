"""What can be asked before anything runs."""

import dataclasses

import pytest
import seesaw
from cases import Case

PROBLEM = seesaw.Problem(batch=4, h_q=128, max_pages_per_sequence=16)


def test_info_names_the_cpu_and_every_kernel():
    info = seesaw.info()
    assert info.devices[0].device == "cpu" and info.devices[0].usable
    assert info.kernels[-1] == "reference.dense_decode"
    assert info.max_threads >= 1
    for device in info.devices:
        assert device.usable or device.reason


def test_supports_lists_every_kernel_with_a_reason():
    answers = seesaw.supports(PROBLEM)
    assert [answer.kernel for answer in answers] == seesaw.info().kernels
    assert all(answer.supported or answer.reason for answer in answers)
    assert answers[-1].supported


def test_explain_names_the_first_kernel_that_can():
    explanation = seesaw.explain(PROBLEM)
    first = next(answer.kernel for answer in seesaw.supports(PROBLEM) if answer.supported)
    assert explanation.kernel == first
    assert explanation.num_workers >= 1 and explanation.tile_tokens >= 1
    assert first in str(explanation)


def test_explain_without_a_kernel_keeps_the_reasons():
    explanation = seesaw.explain(dataclasses.replace(PROBLEM, device="cuda:77"))
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
    options = dict(
        causal=True,
        lse_base=2,
        empty_lse="+inf",
        batch_invariant=True,
        num_threads=1,
        kernel="reference.dense_decode",
    )
    problem = seesaw.Problem.of(*case.arrays[:3], d_v=100, batch=9, **options)
    assert (problem.batch, problem.s_q, problem.h_q, problem.h_kv) == (9, 2, 6, 2)
    assert (problem.d_qk, problem.d_v, problem.page_size) == (576, 100, 64)
    assert (problem.dtype, problem.kv_dtype, problem.device) == ("float16", "float16", "cpu")
    for name, value in options.items():
        assert getattr(problem, name) == value
    assert seesaw.Problem.from_fields(problem.to_fields()) == problem


def test_problems_are_values():
    assert PROBLEM == seesaw.Problem(batch=4, h_q=128, max_pages_per_sequence=16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROBLEM.batch = 5
