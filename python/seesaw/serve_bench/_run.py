"""Transformers' attentions in turn, round after round, over the same trace."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, TextIO

from seesaw.serve_bench._requests import Request
from seesaw.serve_bench._served import Served, agreement, figures_of

WARM_UP_TOKENS = 4
LAYER_STEPS = 9
_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        requests, prompts: The trace, and its prompts' tokens.
        batch: Sequences at once, at most. rounds: Of the whole trace, by each attention.
    """

    requests: List[Request]
    prompts: List[List[int]]
    batch: int
    rounds: int

    def first_batch(self) -> List[List[int]]:
        return self.prompts[: self.batch]


class Progress:
    """Says on a stream how far it is: at the end of each part, and every ten seconds of one."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream
        self._said = time.monotonic()
        self._part, self._tokens, self._of = "", 0, 0

    def begin(self, part: str, tokens: int) -> None:
        self._part, self._tokens, self._of = part, 0, tokens

    def told(self, tokens: int) -> None:
        self._tokens += tokens
        if time.monotonic() - self._said >= _SAY_EVERY_S:
            self.say(f"{self._part}: {self._tokens:,} of {self._of:,} tokens")

    def say(self, text: str) -> None:
        self._said = time.monotonic()
        if self._stream is not None:
            print(f"serve_bench: {text}", file=self._stream, flush=True)


def first_line(error: BaseException) -> str:
    """What a result says of why there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class Comparison:
    """The attentions of one model. `measure` may be stopped: what is there stays."""

    def __init__(self, model: Any, attentions: List[Any], plan: Plan, progress: Progress) -> None:
        self.model, self.attentions, self.plan, self.progress = model, attentions, plan, progress
        self.rounds: Dict[str, List[Served]] = {a.name: [] for a in attentions}
        self.layers: Dict[str, List[Dict[str, Any]]] = {}
        self.why_not: Dict[str, str] = {}

    def measure(self) -> None:
        """A warm-up, the rounds, the layers' times; an attention that fails is left out from
        there on."""
        for part in ("warm-up", *range(1, self.plan.rounds + 1), "layers"):
            for attention in self.attentions:
                if attention.name not in self.why_not:
                    self._guarded(attention, part)

    def _guarded(self, attention: Any, part: Any) -> None:
        import torch

        name = attention.name
        begin = time.perf_counter()
        try:
            attention.put_into(self.model)
            try:
                with torch.inference_mode():
                    self._do(name, part)
            finally:
                attention.take_out_of(self.model)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, ImportError) as error:
            self.why_not[name] = first_line(error)
            self.progress.say(f"{name}: {self.why_not[name]}")
            return
        took = time.perf_counter() - begin
        label = f"round {part} of {self.plan.rounds}" if isinstance(part, int) else part
        self.progress.say(f"{name}, {label}: {took:.2f} s")

    def _do(self, name: str, part: Any) -> None:
        from seesaw.serve_bench._layers import layer_times
        from seesaw.serve_bench._transformers import generate, serve

        plan, told = self.plan, self.progress.told
        first = plan.first_batch()
        if part == "warm-up":
            generate(self.model, first, [WARM_UP_TOKENS] * len(first))
        elif part == "layers":
            self.progress.begin(f"{name}, layers", (LAYER_STEPS + 1) * len(first))
            self.layers[name] = layer_times(self.model, first, LAYER_STEPS, told)
        else:
            new = sum(request.new_tokens for request in plan.requests)
            self.progress.begin(f"{name}, round {part} of {plan.rounds}", new)
            served = serve(self.model, plan.requests, plan.prompts, plan.batch, told)
            self.rounds[name].append(served)

    def results(self) -> List[Dict[str, Any]]:
        """One of each attention, in their order (docs/serve-bench.md)."""
        first = next((r[0].tokens for r in self.rounds.values() if r), [])
        found = []
        for attention in self.attentions:
            rounds = self.rounds[attention.name]
            found.append(
                {
                    "attention": attention.name,
                    "why_not": self.why_not.get(attention.name),
                    "rounds": len(rounds),
                    "figures": figures_of(rounds, self.plan.requests) if rounds else None,
                    "same_tokens": agreement(rounds[-1].tokens, first) if rounds else None,
                    "layers": self.layers.get(attention.name),
                }
            )
        return found


def stderr_or_none(quiet: bool) -> Optional[TextIO]:
    return None if quiet else sys.stderr
