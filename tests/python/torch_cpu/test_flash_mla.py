"""The drop-in for flash_mla on CPU tensors, in both of its calling forms."""

import gc
import subprocess
import sys

import numpy as np
import pytest
import torch
from cases import SCALE, Case, assert_close
from seesaw.compat.flash_mla import (
    FlashMLASchedMeta,
    flash_attn_varlen_func,
    flash_mla_with_kvcache,
    get_mla_metadata,
)


def as_torch(case):
    return [torch.from_numpy(array) for array in case.arrays]


def test_older_form():
    case = Case([70, 0, 300], h_q=16, s_q=2, causal=True)
    q, k_cache, block_table, lengths = as_torch(case)
    metadata, num_splits = get_mla_metadata(lengths, 2 * 16 // 1, 1)
    assert metadata.dtype == num_splits.dtype == torch.int32
    assert metadata.shape[1] == 8 and num_splits.shape == (4,)
    for _ in range(3):
        got = flash_mla_with_kvcache(
            q, k_cache, block_table, lengths, 512, metadata, num_splits, SCALE, True
        )
        assert_close(got, case.expected(), infinity=np.inf)


def test_current_form():
    case = Case([70, 0, 300], h_q=16)
    q, k_cache, block_table, lengths = as_torch(case)
    metadata, nothing = get_mla_metadata()
    assert isinstance(metadata, FlashMLASchedMeta) and nothing is None
    assert not metadata.have_initialized
    for _ in range(2):
        out, lse = flash_mla_with_kvcache(
            q, k_cache, block_table, lengths, 512, metadata, softmax_scale=SCALE
        )
        assert metadata.have_initialized
        assert out.shape == (3, 1, 16, 512) and lse.shape == (3, 16, 1)
        assert_close((out, lse), case.expected(), infinity=np.inf)


def test_default_scale_and_full_mask():
    case = Case([70, 3], s_q=2)
    got = flash_mla_with_kvcache(*as_torch(case), 512, get_mla_metadata()[0])
    assert_close(got, case.expected(scale=576**-0.5), infinity=np.inf)


def test_current_form_refuses_another_problem():
    case, other = Case([70, 3]), Case([70, 3], h_q=8)
    metadata, _ = get_mla_metadata()
    flash_mla_with_kvcache(*as_torch(case), 512, metadata)
    with pytest.raises(ValueError, match="q has shape"):
        flash_mla_with_kvcache(*as_torch(other), 512, metadata)
    with pytest.raises(ValueError, match="causal = True, allowed: False, as in the call that"):
        flash_mla_with_kvcache(*as_torch(case), 512, metadata, causal=True)


def test_metadata_copied_into_a_fixed_buffer_every_step():
    """What engines do for CUDA graphs: same tensor, new contents, new lengths in place."""
    persistent = torch.zeros((64, 8), dtype=torch.int32)
    lengths_buffer = torch.zeros(2, dtype=torch.int32)
    cases = [Case([70, 3]), Case([20, 150]), Case([64, 64])]
    for case in cases:
        q, k_cache, block_table, lengths = as_torch(case)
        lengths_buffer.copy_(lengths)
        metadata, num_splits = get_mla_metadata(lengths_buffer, 16, 1)
        view = persistent[: len(metadata)]
        view.copy_(metadata)
        for _ in range(2):
            got = flash_mla_with_kvcache(
                q, k_cache, block_table, lengths_buffer, 512, view, num_splits, SCALE
            )
            assert_close(got, case.expected(), infinity=np.inf)


def test_inference_tensors():
    with torch.inference_mode():
        lengths_buffer = torch.zeros(2, dtype=torch.int32)
        metadata, num_splits = get_mla_metadata(lengths_buffer, 16, 1)
        for case in (Case([70, 3]), Case([20, 150])):
            q, k_cache, block_table, lengths = as_torch(case)
            lengths_buffer.copy_(lengths)
            got = flash_mla_with_kvcache(
                q, k_cache, block_table, lengths_buffer, 512, metadata, num_splits, SCALE
            )
            assert_close(got, case.expected(), infinity=np.inf)


def test_schedules_die_with_their_metadata():
    from seesaw.compat.flash_mla.run import _paired_schedules

    q, k_cache, block_table, lengths = as_torch(Case([70, 3]))
    gc.collect()
    before = len(_paired_schedules._entries)
    for _ in range(50):
        metadata, num_splits = get_mla_metadata(lengths, 16, 1)
        flash_mla_with_kvcache(q, k_cache, block_table, lengths, 512, metadata, num_splits)
    del metadata
    gc.collect()
    assert len(_paired_schedules._entries) == before


def test_what_is_missing_is_refused_by_name():
    q, k_cache, block_table, lengths = as_torch(Case([70, 3]))
    metadata, _ = get_mla_metadata()
    call = (q, k_cache, block_table, lengths, 512, metadata)
    with pytest.raises(ValueError, match="k_cache of 576 elements of torch.* with is_fp8_kvcache"):
        flash_mla_with_kvcache(*call, is_fp8_kvcache=True)
    with pytest.raises(ValueError, match="descale_q or descale_k without a dense e4m3 cache"):
        flash_mla_with_kvcache(*call, descale_k=torch.ones(1))
    for name in ("attn_sink", "extra_k_cache", "topk_length"):
        with pytest.raises(ValueError, match=f"{name} without indices, allowed: with them"):
            flash_mla_with_kvcache(*call, **{name: lengths})
    with pytest.raises(NotImplementedError, match="flash_attn_varlen_func: a dense prefill"):
        flash_attn_varlen_func()
    with pytest.raises(TypeError, match="tile_scheduler_metadata is missing. Pass"):
        flash_mla_with_kvcache(q, k_cache, block_table, lengths)


def test_older_form_after_writes_that_torch_does_not_see():
    """Through NumPy's views and `.data`: the version of a tensor stays, its lengths do not."""
    case = Case([1, 65], h_q=16, spare_pages=6)
    q, k_cache, _, _ = as_torch(case)
    k_cache = torch.nan_to_num(k_cache, nan=0.5)
    block_table = torch.arange(8, dtype=torch.int32).reshape(2, 4)
    lengths = np.array([1, 65], np.int32)
    seen = torch.from_numpy(lengths)
    metadata, num_splits = get_mla_metadata(seen, 16, 1)

    def rows():
        return flash_mla_with_kvcache(q, k_cache, block_table, seen, 512, metadata, num_splits)

    def fresh():
        copy = torch.from_numpy(lengths.copy())
        return flash_mla_with_kvcache(
            q, k_cache, block_table, copy, 512, *get_mla_metadata(copy, 16, 1)
        )

    rows()
    for write in (
        lambda: lengths.__iadd__(100),
        lambda: seen.data.sub_(60),
        lambda: metadata.numpy().fill(7),
        lambda: lengths.__setitem__(slice(None), (256, 0)),
    ):
        version = seen._version
        write()
        assert seen._version == version
        for _ in range(2):
            assert all(torch.equal(a, b) for a, b in zip(rows(), fresh()))


def test_current_form_refuses_lengths_that_were_written():
    q, k_cache, block_table, lengths = as_torch(Case([300, 3]))
    metadata, _ = get_mla_metadata()
    flash_mla_with_kvcache(q, k_cache, block_table, lengths, 512, metadata)
    lengths.copy_(torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="made for other lengths .* schedule.update"):
        flash_mla_with_kvcache(q, k_cache, block_table, lengths, 512, metadata)


def test_compiled_without_a_graph_break():
    """Each call makes a schedule of its own there; the metadata is made outside."""
    case = Case([70, 300], h_q=16, s_q=2, causal=True)
    arrays = as_torch(case)
    metadata = get_mla_metadata(arrays[3], 2 * 16, 1)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def older(q, *rest):
        return flash_mla_with_kvcache(q + 0, *rest, 512, *metadata, SCALE, True)

    current_metadata, _ = get_mla_metadata()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def current(q, *rest):
        return flash_mla_with_kvcache(
            q + 0, *rest, 512, current_metadata, softmax_scale=SCALE, causal=True
        )

    for function in (older, current):
        assert_close(function(*arrays), case.expected(), infinity=np.inf)
    assert not current_metadata.have_initialized


def test_arguments_of_other_types():
    q, k_cache, block_table, lengths = as_torch(Case([70, 3]))
    metadata = get_mla_metadata(lengths, 16, 1)
    call = (q, k_cache, block_table, lengths)
    for arguments, pattern in (
        ((*call, 512, metadata), "tile_scheduler_metadata of type tuple, allowed: .* one by one"),
        ((*call, "512", *metadata), "head_dim_v of type str, allowed: an integer"),
        ((*call, 512.0, *metadata), "head_dim_v of type float, allowed: an integer"),
        ((*call[:3], lengths.tolist(), 512, *metadata), "cache_seqlens of type list, allowed"),
        ((*call[:3], lengths.numpy(), 512, *metadata), "cache_seqlens is a numpy.ndarray"),
        ((*call[:2], [[0]], lengths, 512, *metadata), "block_table of type list, allowed"),
        ((*call[:3], lengths.short(), 512, *metadata), "seq_lens has dtype int16, allowed: int32"),
        ((q.numpy(), *call[1:], 512, *metadata), "q of type ndarray, allowed: a torch.Tensor"),
    ):
        with pytest.raises(TypeError, match=pattern):
            flash_mla_with_kvcache(*arguments)


SCRIPT = """
import sys
import torch
import flash_mla
from flash_mla.flash_mla_interface import flash_mla_with_kvcache
from flash_mla import get_mla_metadata

assert __name__ == "__main__" and sys.argv[1:] == ["--rows", "3"]
import beside
q = torch.randn(2, 1, 16, 576)
k_cache = torch.randn(4, 64, 1, 576)
table = torch.arange(4, dtype=torch.int32).view(2, 2)
lengths = torch.tensor([100, 0], dtype=torch.int32)
metadata, num_splits = get_mla_metadata(lengths, 16, 1)
out, lse = flash_mla.flash_mla_with_kvcache(
    q, k_cache, table, lengths, 512, metadata, num_splits, causal=True)
assert (lse[1] == float("inf")).all() and (out[1] == 0).all()
print("ran", tuple(out.shape))
"""


def test_unmodified_script(tmp_path):
    (tmp_path / "beside.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "seesaw.compat.flash_mla"]
    done = subprocess.run([*command, str(script), "--rows", "3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "ran (2, 1, 16, 512)"
    missing = subprocess.run([*command, "nowhere.py"], capture_output=True, text=True)
    assert missing.returncode == 2 and "nowhere.py is no file" in missing.stderr


@pytest.mark.parametrize("form", ["current", "older"])
@pytest.mark.parametrize("q_dtype", [torch.float8_e4m3fn, torch.bfloat16])
def test_dense_e4m3_cache(form, q_dtype):
    """Against float64 on the same numbers: what e4m3 costs is not this function's."""
    lengths, d_v, scale = [70, 3], 512, 192**-0.5
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(2, 1, 16, 576, generator=generator).to(q_dtype)
    k_cache = torch.randn(3, 64, 1, 576, generator=generator).to(torch.float8_e4m3fn)
    block_table = torch.tensor([[2, 0], [1, 0]], dtype=torch.int32)
    seq_lens = torch.tensor(lengths, dtype=torch.int32)
    descale_k = torch.tensor([0.75])
    descale_q = torch.tensor([0.3]) if q_dtype == torch.float8_e4m3fn else None
    if form == "current":
        metadata = get_mla_metadata()
    else:
        metadata = get_mla_metadata(seq_lens, 16, 1, is_fp8_kvcache=True)
    for _ in range(2):  # the second finds the first one's schedule
        out, lse = flash_mla_with_kvcache(
            q, k_cache, block_table, seq_lens, d_v, *metadata, softmax_scale=scale,
            is_fp8_kvcache=True, descale_q=descale_q, descale_k=descale_k,
        )  # fmt: skip
    assert out.dtype == torch.bfloat16
    queries = q.double() * (1.0 if descale_q is None else descale_q.double())
    for i, length in enumerate(lengths):
        keys = k_cache[block_table[i].long()].double().reshape(-1, 576)[:length] * 0.75
        scores = queries[i, 0] @ keys.T * scale
        torch.testing.assert_close(lse[i, :, 0].double(), scores.logsumexp(-1), rtol=0, atol=0.02)
        exact = scores.softmax(-1) @ keys[:, :d_v]
        torch.testing.assert_close(out[i, 0].double(), exact, rtol=0.02, atol=0.02)


def test_dense_e4m3_cache_takes_no_scale_of_a_bfloat16_query():
    q, _, block_table, lengths = as_torch(Case([70, 3]))
    k_cache = torch.zeros(4, 64, 1, 576, dtype=torch.float8_e4m3fn)
    with pytest.raises(ValueError, match="descale_q with q of torch"):
        flash_mla_with_kvcache(
            q, k_cache, block_table, lengths, 512, *get_mla_metadata(), is_fp8_kvcache=True,
            descale_q=torch.ones(1),
        )  # fmt: skip
