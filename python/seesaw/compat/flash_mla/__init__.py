"""FlashMLA's Python interface over Seesaw, for PyTorch tensors on GPUs and on the CPU.

    from seesaw.compat.flash_mla import flash_mla_with_kvcache, get_mla_metadata

takes both of FlashMLA's calling forms: the older one, where `get_mla_metadata(cache_seqlens, ...)`
returns a pair of tensors, and the current one, where `get_mla_metadata()` returns a
FlashMLASchedMeta that the first call fills. Sparse decoding (indices, topk_length, attn_sink, the
extra cache) and `flash_mla_sparse_fwd` go beyond FlashMLA's limits: any topk, any number of heads,
caches in bfloat16, too. Same shapes, same defaults, LSE of an empty row +inf.

`python -m seesaw.compat.flash_mla SCRIPT [ARGS...]` runs a script that says `import flash_mla`
unchanged. What FlashMLA has and Seesaw does not yet is refused by name.
"""

from seesaw.compat.flash_mla.metadata import FlashMLASchedMeta, get_mla_metadata
from seesaw.compat.flash_mla.run import flash_mla_with_kvcache
from seesaw.compat.flash_mla.script import install
from seesaw.compat.flash_mla.sparse import flash_mla_sparse_fwd
from seesaw.compat.flash_mla.unsupported import (
    flash_attn_varlen_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_varlen_qkvpacked_func,
)

__all__ = [
    "FlashMLASchedMeta",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_mla_sparse_fwd",
    "flash_mla_with_kvcache",
    "get_mla_metadata",
    "install",
]
