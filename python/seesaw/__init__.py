"""Multi-head Latent Attention on CPUs and GPUs.

Works on NumPy, PyTorch, CuPy and JAX arrays. Importing this package loads none of them, nor the
native library; both wait for the first call.

    seesaw.append(c_kv, k_rope, slot_mapping, kv_cache)
    out, lse = seesaw.dense_decode(q, kv_cache, block_table, seq_lens, scale=192**-0.5)
    out, lse = seesaw.sparse_decode(q, kv_cache, indices, scale=192**-0.5)

See docs/python.md, and docs/contract.md for what every kernel promises.
"""

try:
    from seesaw._tables import DenseDecodeProblem as Problem
    from seesaw._tables import Options, SparseDecodeProblem, SparsePrefillProblem
    from seesaw._version import __version__
except ImportError:  # the sources themselves, where seesaw.report works: no build made these two
    __version__ = "0"
else:
    from seesaw._append import append
    from seesaw._decode import dense_decode
    from seesaw._formats import CacheFormat, empty_cache, formats
    from seesaw._gather import gather
    from seesaw._merge_states import merge_states
    from seesaw._prometheus import stats_prometheus
    from seesaw._queries import (
        Device,
        Explanation,
        Info,
        KernelSupport,
        Piece,
        explain,
        info,
        pieces,
        supports,
        workspace_size,
    )
    from seesaw._schedule import Schedule, make_schedule
    from seesaw._sparse import sparse_decode, sparse_prefill
    from seesaw._stats import KernelStats, stats
    from seesaw._yarn import softmax_scale

__all__ = [
    "CacheFormat",
    "Device",
    "Explanation",
    "Info",
    "KernelStats",
    "KernelSupport",
    "Options",
    "Piece",
    "Problem",
    "Schedule",
    "SparseDecodeProblem",
    "SparsePrefillProblem",
    "__version__",
    "append",
    "dense_decode",
    "empty_cache",
    "explain",
    "formats",
    "gather",
    "info",
    "make_schedule",
    "merge_states",
    "pieces",
    "softmax_scale",
    "sparse_decode",
    "sparse_prefill",
    "stats",
    "stats_prometheus",
    "supports",
    "workspace_size",
]
