"""Seesaw in Hugging Face's Transformers: MLA models decode over a paged latent cache.

    model = seesaw.transformers.install(AutoModelForCausalLM.from_pretrained(...))
    model.generate(**inputs)                                   # as before

Transformers keeps latents in its cache, but expands all of them to keys and values of every head at
every step. After `install` a step attends them as they are, by `seesaw.dense_decode` over pages. No
file of Transformers is changed or copied. See docs/engines.md.
"""

from seesaw.transformers._cache import PagedLatentCache
from seesaw.transformers._install import SUPPORTED, install, uninstall

__all__ = ["SUPPORTED", "PagedLatentCache", "install", "uninstall"]
