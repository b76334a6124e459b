"""Transformers' cache of a model, with pages of latents in its MLA layers."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from seesaw.layers._cache import LatentCache, Step


class Places:
    """Where new tokens of a padded batch go: padding is not stored, so that a sequence's tokens lie
    one behind the other whichever side its padding is on.

    Attributes:
        step: Lengths with the new tokens, and their positions; -1: padding.
        holes: Whether there is padding among the new tokens.
    """

    def __init__(
        self, mask: Optional[torch.Tensor], batch: int, past: int, new: int, device: torch.device
    ) -> None:
        total = past + new
        if mask is None:
            positions = torch.arange(past, total, device=device)[None]
            lengths = torch.full((batch,), total, dtype=torch.int32, device=device)
            self.holes = False
        else:
            real = mask[:, :total].to(torch.int64)
            places = real.cumsum(1) - 1
            positions = torch.where(mask[:, past:total], places[:, past:], -1)
            lengths = real.sum(1).to(torch.int32)
            # A single token that is padding is not stored, and no row is another's.
            self.holes = new > 1 and not bool(mask[:, past:total].all())
        self.step = Step(lengths, total, positions)


class Shared:
    """What the layers of one cache share: how it is stored, and the places of the current step."""

    def __init__(
        self, kv_format: Optional[str] = None, page_size: int = 64, capacity: int = 0
    ) -> None:
        self.kv_format, self.page_size, self.capacity = kv_format, page_size, capacity
        self.padded = False
        self._mask: Optional[torch.Tensor] = None
        self._key: Optional[Tuple[Any, ...]] = None
        self._places: Optional[Places] = None

    def places(
        self, mask: Optional[torch.Tensor], batch: int, past: int, new: int, device: torch.device
    ) -> Places:
        """Of the tokens that a forward pass brings; the same for every layer."""
        key = (batch, past, new, device)
        if self._places is None or key != self._key or mask is not self._mask:
            if mask is None and self.padded:
                raise ValueError(
                    f"seesaw.transformers: no attention_mask for {past} + {new} tokens of a batch "
                    "that had padding, allowed: the mask of all of them. Pass it with every call."
                )
            self._places = Places(mask, batch, past, new, device)
            self._key, self._mask = key, mask
            self.padded = mask is not None
        return self._places

    def forget(self) -> None:
        """The cache was changed: no step is current."""
        self._places = self._key = self._mask = None


class PagedLatentLayer(CacheLayerMixin):
    """The cache of one MLA layer. `update` hands new latents through; the attention function stores
    them, as it knows the mask."""

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared
        self.pages: Optional[LatentCache] = None
        self.length = 0  # of the padded batch, as Transformers counts

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """key_states: latents [b, 1, s, d_latent]; value_states: rotary keys [b, 1, s, d_rope]."""
        shared = self.shared
        self.dtype, self.device = key_states.dtype, key_states.device
        self.pages = LatentCache(
            key_states.shape[0],
            max(shared.capacity, key_states.shape[2], 1),
            key_states.shape[-1],
            value_states.shape[-1],
            dtype=key_states.dtype,
            device=key_states.device,
            kv_format=shared.kv_format,
            page_size=shared.page_size,
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        # The attention function finds the layer by its latents: nothing else passes through both.
        key_states = key_states.view_as(key_states)
        key_states.seesaw_layer = self  # type: ignore[attr-defined]
        return key_states, value_states

    def store(
        self, latent: torch.Tensor, rope: torch.Tensor, mask: Optional[torch.Tensor]
    ) -> Tuple[LatentCache, Places, int]:
        """Writes new tokens, latents [b, s, d_latent] and rotary keys [b, s, d_rope]. Returns the
        cache, their places, and how many tokens were there before, padding included."""
        assert self.pages is not None
        b, s, _ = latent.shape
        if b != self.pages.batch:
            raise ValueError(
                f"seesaw.transformers: a batch of {b} for a cache of {self.pages.batch} sequences, "
                "allowed: the same. Use a new cache."
            )
        past = self.length
        places = self.shared.places(mask, b, past, s, latent.device)
        self.pages.reserve(past + s)
        self.pages.append_to(latent, rope, places.step.slots(self.pages))
        self.length = past + s
        return self.pages, places, past

    def get_mask_sizes(self, query_length: int) -> Tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in earlier versions

    def reset(self) -> None:
        self.length = 0
        self.shared.padded = False
        self.shared.forget()

    def crop(self, tokens_to_remove: int) -> None:
        """Forgets the last tokens; tokens_to_remove: how many. (Nothing is moved: their places are
        counted from the mask of the next call.)"""
        self.length = max(self.length - abs(tokens_to_remove), 0)
        self.shared.forget()

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        self._select(beam_idx)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.pages is not None:
            self._select(torch.arange(self.pages.batch).repeat_interleave(repeats))

    def _select(self, sequences: torch.Tensor) -> None:
        if self.pages is not None:
            if sequences.dtype == torch.bool:
                sequences = sequences.nonzero()[:, 0]
            self.pages.select(sequences)
            self.shared.forget()

    def offload(self) -> None:
        raise NotImplementedError(
            "seesaw.transformers: an offloaded cache, allowed: one that stays on its device. Leave "
            'cache_implementation="offloaded" out; PagedLatentCache takes kv_format to be smaller.'
        )

    prefetch = offload


class PagedLatentCache(DynamicCache):
    """A model's cache with its latents in pages, for `generate(past_key_values=...)` (`cache=` from
    Transformers 5.24 on) and for `forward`, after `install`.

    Args:
        model: After `install`; or its configuration, if all its layers are MLA.
        kv_format: Of `seesaw.formats()` ("fp8_656", "int8_644", ...), or a dtype's name. None: the
            model's dtype, or what `install` was given.
        capacity: Tokens that each sequence has room for from the start; more enlarge the cache.
        page_size: Tokens of a page.
    """

    def __init__(
        self,
        model: Any,
        *,
        kv_format: Optional[str] = None,
        capacity: Optional[int] = None,
        page_size: Optional[int] = None,
    ) -> None:
        config = getattr(model, "config", model)
        super().__init__(config=config.get_text_config(decoder=True))
        given = {"kv_format": kv_format, "capacity": capacity, "page_size": page_size}
        settings = {**getattr(model, "_seesaw_settings", {})}
        settings.update({name: value for name, value in given.items() if value is not None})
        become_paged(self, list(range(len(self.layers))), settings)


def become_paged(cache: Cache, layers: List[int], settings: Dict[str, Any]) -> None:
    """Gives an empty cache pages in these layers, in place, so that whoever holds it keeps it.

    Raises:
        ValueError: It is of another kind, or not empty.
    """
    if any(isinstance(layer, PagedLatentLayer) for layer in cache.layers):
        return
    if getattr(cache, "offloading", False):
        PagedLatentLayer(Shared()).offload()
    shared = Shared(**settings)
    # Without a configuration its layers come as they are used, all of one class.
    replicated = getattr(cache, "layer_class_to_replicate", None)
    if replicated is not None:
        while len(cache.layers) <= max(layers, default=-1):
            cache.layers.append(replicated())
    for i in layers:
        layer: Any = cache.layers[i]
        if type(layer) is not DynamicLayer:
            if type(cache) is PagedLatentCache:
                continue  # linear attention and the like
            _refuse(cache, f"with layers of {type(layer).__name__}")
        if layer.get_seq_length() > 0:
            _refuse(cache, f"with {layer.get_seq_length()} tokens that were cached without Seesaw")
        cache.layers[i] = PagedLatentLayer(shared)


def _refuse(cache: Cache, what: str) -> None:
    raise ValueError(
        f"seesaw.transformers: a {type(cache).__name__} {what}, allowed: an empty DynamicCache or "
        "a PagedLatentCache. Leave the cache out, and cache_implementation too."
    )
