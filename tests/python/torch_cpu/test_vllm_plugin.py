"""seesaw.vllm's registration, its platform and its prefill for CPUs, with stand-ins for vLLM's
classes."""

import importlib
import types

import pytest
import stand_in_vllm
import torch


@pytest.fixture
def plugin(monkeypatch):
    stand_in_vllm.install(monkeypatch)
    return importlib.import_module("seesaw.vllm")


def test_registration(plugin, monkeypatch):
    registered, names = stand_in_vllm.registered, stand_in_vllm.Enum
    plugin.register()
    plugin.register()
    assert registered[names.CUSTOM] in (plugin._BACKEND, plugin._PREFILL)
    assert registered[names.FLASH_ATTN] == plugin._PREFILL
    assert names.FLASHMLA not in registered
    monkeypatch.setenv("SEESAW_VLLM_REPLACE", "FLASHMLA")
    plugin.register()
    assert registered[names.FLASHMLA] == plugin._BACKEND
    monkeypatch.setenv("SEESAW_VLLM_REPLACE", "FLASHINFER")
    with pytest.raises(ValueError, match="SEESAW_VLLM_REPLACE = FLASHINFER, allowed: FLASHMLA"):
        plugin.register()
    for path in (plugin._BACKEND, plugin._PREFILL, plugin.cpu_platform()):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_on_a_gpu_nothing_of_the_cpu_is_registered(monkeypatch):
    stand_in_vllm.install(monkeypatch, is_cpu=False)
    plugin = importlib.import_module("seesaw.vllm")
    plugin.register()
    assert stand_in_vllm.Enum.FLASH_ATTN not in stand_in_vllm.registered
    assert plugin.cpu_platform() is None


def test_the_cpu_platform(plugin):
    plugin.register()
    stand_in_vllm.registered[stand_in_vllm.Enum.CUSTOM] = plugin._BACKEND
    platform = importlib.import_module("seesaw.vllm.platform").SeesawCpuPlatform
    mla = types.SimpleNamespace(use_mla=True, use_sparse=False)
    other = types.SimpleNamespace(use_mla=False, use_sparse=False)
    names = stand_in_vllm.Enum
    assert platform.get_attn_backend_cls(None, mla) == plugin._BACKEND
    assert platform.get_attn_backend_cls(names.CUSTOM, mla) == plugin._BACKEND
    assert platform.get_attn_backend_cls(names.TRITON_MLA, mla) == "vllm's own"
    assert platform.get_attn_backend_cls(None, other) == "vllm's own"


def test_the_prefill_in_pytorch(plugin):
    prefill = importlib.import_module("seesaw.vllm.prefill").TorchPrefillBackend(scale=0.3)
    begins, keys = torch.tensor([0, 3, 3, 8]), torch.tensor([0, 4, 4, 4])
    chunks = types.SimpleNamespace(cu_seq_lens=[keys])
    prefill.prepare_metadata(types.SimpleNamespace(query_start_loc=begins, chunked_context=chunks))
    q, k, v = torch.randn(8, 2, 24), torch.randn(8, 2, 24), torch.randn(8, 2, 16)
    out, lse = prefill.run_prefill_new_tokens(q, k, v, True)
    into = torch.empty(8, 32)
    prefill.run_prefill_new_tokens(q, k, v, False, out=into)
    assert torch.equal(into.view(8, 2, 16), out)
    for begin, end in ((0, 3), (3, 8)):
        here = slice(begin, end)
        wanted = torch.nn.functional.scaled_dot_product_attention(
            *(x[here].transpose(0, 1) for x in (q, k, v)), is_causal=True, scale=0.3
        ).transpose(0, 1)
        assert (out[here] - wanted).abs().max() < 1e-5
        scores = torch.einsum("qhd,khd->hqk", q[here], k[here]) * 0.3
        hidden = torch.ones(end - begin, end - begin, dtype=torch.bool).triu(1)
        scores.masked_fill_(hidden, -torch.inf)
        assert (lse[:, here] - scores.logsumexp(-1)).abs().max() < 1e-5
    out, lse = prefill.run_prefill_context_chunk(chunk_idx=0, q=q, k=k[:4], v=v[:4])
    chunk = types.SimpleNamespace(query_start_loc=begins, cu_seq_lens=keys)  # of later versions
    again = prefill.run_prefill_context_chunk(chunk=chunk, q=q, k=k[:4], v=v[:4])
    assert torch.equal(again[0], out) and torch.equal(again[1], lse)
    scores = torch.einsum("qhd,khd->hqk", q[:3], k[:4]) * 0.3
    wanted = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[:4])
    assert (out[:3] - wanted).abs().max() < 1e-5
    assert (out[3:] == 0).all() and (lse[:, 3:] == -torch.inf).all()
