"""The MLA layer of a model, in PyTorch, over `seesaw.dense_decode`.

    layer = seesaw.layers.DeepSeekMLA.from_checkpoint("DeepSeek-V3", layer=0)
    cache = layer.new_cache(batch=4, capacity=4096, kv_format="fp8_656")
    out = layer(hidden_states, cache=cache)        # a prompt, then token by token

`DeepSeekMLA` is the whole layer, from hidden states to hidden states; `LatentCache` the pages that
its latents are kept in, in any format of docs/cache-formats.md. See docs/engines.md.
"""

from seesaw.layers._cache import LatentCache
from seesaw.layers._config import MLASizes
from seesaw.layers._deepseek import DeepSeekMLA

__all__ = ["DeepSeekMLA", "LatentCache", "MLASizes"]
