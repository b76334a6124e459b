"""Counters of calls, seen from Python."""

import os
import subprocess
import sys

import pytest
import seesaw
from cases import SCALE, Case

KERNEL = "reference.dense_decode"


def row_of(kernel):
    (row,) = [row for row in seesaw.stats() if row.kernel == kernel]
    return row


def test_a_row_for_every_kernel_and_one_for_none():
    rows = seesaw.stats()
    assert [row.kernel for row in rows] == [*seesaw.info().kernels, "none"]
    assert all(row.operation == row.kernel.split(".")[1] for row in rows[:-1])
    assert rows[-1].operation == "none"
    assert row_of(KERNEL).lengths_known


def test_a_call_is_counted():
    case = Case([70, 3], h_q=4, dtype="float32")
    before = row_of(KERNEL)
    seesaw.dense_decode(*case.arrays, kernel=KERNEL, scale=SCALE)
    after = row_of(KERNEL)
    assert after.calls["run"]["ok"] - before.calls["run"]["ok"] == 1
    assert after.calls["prepare"]["ok"] - before.calls["prepare"]["ok"] == 1
    assert after.sequences - before.sequences == 2
    assert after.kv_tokens - before.kv_tokens == 73
    assert after.kv_bytes - before.kv_bytes == 73 * 576 * 4
    assert after.seconds["run"] > before.seconds["run"]


def test_a_refusal_is_counted():
    before = row_of("none")
    with pytest.raises(ValueError):
        seesaw.workspace_size(seesaw.Problem(batch=4, h_q=16, h_kv=3, max_pages_per_sequence=1))
    after = row_of("none")
    refused = [row.calls["plan"]["invalid_argument"] for row in (before, after)]
    assert refused[1] > refused[0]


def test_prometheus_text_has_the_same_numbers():
    text = seesaw.stats_prometheus()
    labels = f'operation="dense_decode",kernel="{KERNEL}"'
    assert f"seesaw_kv_tokens_total{{{labels}}} {row_of(KERNEL).kv_tokens}\n" in text
    calls = f'seesaw_calls_total{{{labels},function="run",status="SEESAW_OK"}}'
    assert f"{calls} {row_of(KERNEL).calls['run']['ok']}\n" in text
    assert f'seesaw_build_info{{version="{seesaw.__version__}"}} 1\n' in text


def test_a_disabled_kernel_gives_way():
    program = (
        "import seesaw; e = seesaw.explain(seesaw.Problem(batch=1, h_q=2, "
        "max_pages_per_sequence=1)); print(e.kernel); print(e)"
    )
    environment = {**os.environ, "SEESAW_DISABLE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == KERNEL
    assert 'disabled by "cpu" in the environment variable SEESAW_DISABLE' in done.stdout
