"""PyTorch operators, for `torch.compile`, `torch.export` and other tracers; CPU and CUDA tensors.

`seesaw.dense_decode`, `seesaw.sparse_decode`, `seesaw.sparse_prefill`, `seesaw.merge_states`,
`seesaw.append`, `seesaw.gather` and `Schedule.update` record them by themselves while they are
being traced. Importing this module registers the operators:

    torch.ops.seesaw.dense_decode(...)            -> (out, lse), allocated
    torch.ops.seesaw.dense_decode_out(...)        writes out and lse
    torch.ops.seesaw.sparse_decode_out(...)       writes out, and lse and max_logits where given
    torch.ops.seesaw.sparse_prefill_out(...)      the same
    torch.ops.seesaw.merge_states_out(...)        the same, of lists outs and lses, LSEs [b, s, h]
    torch.ops.seesaw.append(...)                  writes to a cache, q_rope and saturated
    torch.ops.seesaw.gather_out(...)              writes out
    torch.ops.seesaw.prepare(...)                 fills the buffer of a dense schedule
    torch.ops.seesaw.sparse_decode_prepare(...)   of a sparse one
    torch.ops.seesaw.sparse_prefill_prepare(...)

A schedule is passed as its buffer and the most sequences that its problem allows (query tokens in
sparse prefill); `kernel` is `kernel_name` here, because
Inductor passes an argument of the former name itself, and a setting with the name of a tensor has
`_rule` behind it.
"""

from __future__ import annotations

from seesaw.torch import _operators  # noqa: F401  registers them
