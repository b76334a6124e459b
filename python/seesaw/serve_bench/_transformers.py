"""Transformers' loop: `generate` over batches of the requests that wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from transformers import StoppingCriteria

from seesaw.serve_bench._requests import Request
from seesaw.serve_bench._served import Served

SEESAW = "seesaw"
NATIVE = ("eager", "sdpa")
"""Attentions of Transformers itself that every machine has."""

Told = Optional[Callable[[int], None]]
"""Called with the new tokens of a step."""


@dataclass(frozen=True)
class Attention:
    """One way to attend: Transformers' by its name, or Seesaw's with a format for its cache.

    Attributes:
        name: As the command takes it: "sdpa", "seesaw", "seesaw:fp8_656".
    """

    name: str

    @property
    def kv_format(self) -> Optional[str]:
        return self.name.partition(":")[2] or None

    def put_into(self, model: Any) -> None:
        """Makes the model's layers attend so."""
        if self.name.partition(":")[0] == SEESAW:
            import seesaw.transformers

            seesaw.transformers.install(model, kv_format=self.kv_format)
        else:
            model.set_attn_implementation(self.name)

    def take_out_of(self, model: Any) -> None:
        if self.name.partition(":")[0] == SEESAW:
            import seesaw.transformers

            seesaw.transformers.uninstall(model)


class Stamps(StoppingCriteria):  # type: ignore[misc]
    """Notes when each step's tokens are there, and lets each sequence end after its own number."""

    def __init__(self, new_tokens: Sequence[int], device: torch.device, told: Told = None) -> None:
        self._limits = torch.tensor(new_tokens, device=device)
        self._on_gpu, self._told = device.type == "cuda", told
        self.moments: List[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **rest: Any) -> torch.Tensor:
        if self._on_gpu:
            torch.cuda.synchronize()
        self.moments.append(time.perf_counter())
        if self._told is not None:
            self._told(int((self._limits >= len(self.moments)).sum()))
        return self._limits <= len(self.moments)


def padded(prompts: List[List[int]], device: Any) -> Tuple[torch.Tensor, torch.Tensor]:
    """(tokens, mask), both [b, the longest], shorter prompts at the right."""
    longest = max(map(len, prompts))
    tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, prompt in enumerate(prompts):
        tokens[i, longest - len(prompt) :] = torch.tensor(prompt)
        mask[i, longest - len(prompt) :] = 1
    return tokens.to(device), mask.to(device)


def generate(
    model: Any, prompts: List[List[int]], new_tokens: Sequence[int], told: Told = None
) -> Tuple[List[List[int]], List[float], Any]:
    """(each sequence's new tokens, when each step ended in seconds after the call, the cache)."""
    tokens, mask = padded(prompts, model.device)
    stamps = Stamps(new_tokens, model.device, told)
    begin = time.perf_counter()
    made = model.generate(
        tokens,
        attention_mask=mask,
        max_new_tokens=max(new_tokens),
        do_sample=False,
        pad_token_id=0,
        stopping_criteria=[stamps],
        return_dict_in_generate=True,
    )
    texts = made.sequences[:, tokens.shape[1] :].tolist()
    cache = getattr(made, "past_key_values", None) or getattr(made, "cache", None)
    moments = [moment - begin for moment in stamps.moments]
    return [text[:n] for text, n in zip(texts, new_tokens)], moments, cache


def bytes_of(cache: Any) -> Tuple[int, int]:
    """(bytes of a model's cache, tokens of it over all sequences), padding included."""
    size = tokens = 0
    for layer in cache.layers:
        pages = getattr(layer, "pages", None)
        if pages is not None:
            size += pages.nbytes
            tokens = max(tokens, pages.batch * pages.capacity)
            continue
        held = [t for t in vars(layer).values() if isinstance(t, torch.Tensor)]
        size += sum(tensor.nbytes for tensor in held)
        keys = getattr(layer, "keys", None)
        if keys is not None:
            tokens = max(tokens, keys.shape[0] * keys.shape[2])
    return size, tokens


def serve(
    model: Any, requests: List[Request], prompts: List[List[int]], batch: int, told: Told = None
) -> Served:
    """Serves a trace: those that have arrived, up to `batch` at once, each batch to its end, as
    `generate` does. Waits for arrivals are skipped, not slept."""
    served = Served.nothing_yet(len(requests))
    now, begin = 0.0, 0
    while begin < len(requests):
        now = max(now, requests[begin].arrival_s)
        end = begin + 1
        while end < min(begin + batch, len(requests)) and requests[end].arrival_s <= now:
            end += 1
        new_tokens = [request.new_tokens for request in requests[begin:end]]
        texts, moments, cache = generate(model, prompts[begin:end], new_tokens, told)
        for i, (text, n) in enumerate(zip(texts, new_tokens), begin):
            served.tokens[i] = text
            served.first[i], served.last[i] = now + moments[0], now + moments[n - 1]
        served.prefill_s.append(moments[0])
        served.decode_s += [b - a for a, b in zip(moments, moments[1:])]
        served.busy_s += moments[-1]
        size, tokens = bytes_of(cache)
        if size > served.kv_bytes:
            served.kv_bytes, served.kv_tokens = size, tokens
        now += moments[-1]
        begin = end
    return served


def versions() -> Dict[str, str]:
    import transformers

    return {"transformers": transformers.__version__, "torch": torch.__version__}
