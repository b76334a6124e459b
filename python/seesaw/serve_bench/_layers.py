"""Times of each layer, in a pass of its own: what measures them would slow the others down."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Tuple

import torch

from seesaw.serve_bench._served import spread
from seesaw.serve_bench._transformers import generate

_ATTENTIONS = ("self_attn", "linear_attn", "attention")


class Clock:
    """Moments on the device's own time."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"

    def now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def ms(self, begin: Any, end: Any) -> float:
        """Between two moments, both of which have passed."""
        return begin.elapsed_time(end) if self._on_gpu else 1e3 * (end - begin)


class Watch:
    """Hooks that note when a module begins and ends."""

    def __init__(self, module: torch.nn.Module, clock: Clock) -> None:
        self.calls: List[Tuple[Any, Any]] = []
        self._clock, self._begin = clock, None
        self._hooks = [
            module.register_forward_pre_hook(self._before),
            module.register_forward_hook(self._after),
        ]

    def _before(self, module: Any, args: Any) -> None:
        self._begin = self._clock.now()

    def _after(self, module: Any, args: Any, output: Any) -> None:
        self.calls.append((self._begin, self._clock.now()))

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def ms(self) -> List[float]:
        return [self._clock.ms(begin, end) for begin, end in self.calls]


def layer_times(
    model: Any, prompts: List[List[int]], steps: int, told: Callable[[int], None]
) -> List[Dict[str, Any]]:
    """Of each layer: its attention, projections included, and all else in it, while the prompts are
    computed and, the median of `steps`, while they are continued; milliseconds."""
    clock = Clock(model.device)
    layers = list(model.get_decoder().layers)
    attentions = [next(getattr(at, n) for n in _ATTENTIONS if hasattr(at, n)) for at in layers]
    watches = [(Watch(at, clock), Watch(inner, clock)) for at, inner in zip(layers, attentions)]
    try:
        generate(model, prompts, [steps + 1] * len(prompts), told)
    finally:
        for pair in watches:
            for watch in pair:
                watch.remove()
    found = []
    for number, (whole, inner) in enumerate(watches):
        attention = inner.ms()
        rest = [a - b for a, b in zip(whole.ms(), attention)]
        found.append(
            {
                "layer": number,
                "prefill_attention_ms": attention[0],
                "prefill_rest_ms": rest[0],
                "decode_attention_ms": spread(attention[1:])["median"],
                "decode_rest_ms": spread(rest[1:])["median"],
            }
        )
    return found
