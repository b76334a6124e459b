// What a dense-decode call costs by arithmetic alone, in the field's convention: two operations a
// multiply-add, the cache read once, no padding and no partial results counted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "lab/cache_records.hpp"
#include "lab/elements.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::lab {

struct Work {
  double flops = 0;
  double bytes = 0;
  int64_t tokens = 0;  // cached, over the batch

  double intensity() const { return bytes > 0 ? flops / bytes : 0; }  // operations a byte
  // Seconds below which no machine of these roofs (per second) can be.
  double bound_seconds(double peak_flops, double read_bytes) const {
    return std::max(flops / peak_flops, bytes / read_bytes);
  }
};

// `problem`: with its defaults filled in. query_lens: query tokens of each sequence, if ragged;
// empty: s_q of each.
inline Work work_of(const seesaw_dense_decode_problem& p, std::span<const int32_t> seq_lens,
                    std::span<const int32_t> query_lens = {}) {
  double visible = 0;  // (query token, key) pairs
  int64_t read = 0;    // tokens, those before every window aside
  int64_t queries = 0;
  Work work;
  for (size_t i = 0; i < seq_lens.size(); ++i) {
    const int64_t length = std::max(seq_lens[i], 0);
    const int64_t s_q = query_lens.empty() ? p.s_q : query_lens[i];
    work.tokens += length;
    queries += s_q;
    const auto window_begin = [&](int64_t token) {
      const int64_t begin = length - s_q + token + 1 - p.window;
      return p.window > 0 ? std::clamp<int64_t>(begin, 0, length) : 0;
    };
    read += s_q > 0 ? length - window_begin(0) : 0;
    for (int64_t token = 0; token < s_q; ++token) {
      const int64_t end = p.causal != 0 ? length - s_q + token + 1 : length;
      visible += static_cast<double>(std::max<int64_t>(end - window_begin(token), 0));
    }
  }
  const auto columns = static_cast<double>(p.d_qk + p.d_v);
  const auto rows = static_cast<double>(queries * p.h_q);
  work.flops = 2 * visible * static_cast<double>(p.h_q) * columns;
  work.bytes = static_cast<double>(read * p.h_kv * token_bytes(p.kv_format, p.d_qk)) +
               rows * columns * static_cast<double>(size_of(p.q_dtype));
  return work;
}

}  // namespace seesaw::lab
