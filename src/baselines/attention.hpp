// Attention whose scores are materialised, and the rows of keys that it reads: what the models
// share.
#pragma once

#include "baselines/ops.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

// Scores and the probabilities made of them, [B, H, n, S]. Rows are padded to 64 bytes or more, as
// matrix products like them. For float32 both are the same memory.
struct ScoreBuffers {
  View scores;         // float32
  View probabilities;  // the problem's dtype
};
ScoreBuffers allocate_scores(Ops& ops, const Call& call, Dims shape);

// The call's softmax of the queries [query_begin, query_begin + n): its scale, mask and causality.
Status masked_softmax(Ops& ops, const Call& call, const ScoreBuffers& buffers,
                      int64_t query_begin = 0);

// out = softmax(scale q k^T) v, one product a head.
struct Attention {
  View q;                   // [B, H, n, d]
  View k;                   // [B, 1 or H, S, d]
  View v;                   // [B, 1 or H, S, d_v]
  View out;                 // [B, H, n, d_v]
  int64_t query_begin = 0;  // of these n queries among the call's N
};
Status attend(Ops& ops, const Call& call, const Attention& attention);

// The tokens whose keys and values the call sees: in its cache, or in the workspace if it has none.
struct KeyRows {
  View all;    // [B, 1, S, cache_width]
  View fresh;  // [B, 1, N, cache_width]: those that the call writes
};
KeyRows key_rows(Ops& ops, const Call& call);

}  // namespace seesaw::baselines
