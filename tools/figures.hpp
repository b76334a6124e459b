// What a call costs by arithmetic alone, in the field's convention: two operations a multiply-add,
// the cache read once, no padding and no partial results counted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "numbers.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::tools {

struct Figures {
  double flops = 0;
  double bytes = 0;
  int64_t tokens = 0;  // cached, over the batch

  double intensity() const { return bytes > 0 ? flops / bytes : 0; }  // operations a byte
  // Seconds below which no machine of these roofs (per second) can be.
  double bound_seconds(double peak_flops, double read_bytes) const {
    return std::max(flops / peak_flops, bytes / read_bytes);
  }
};

inline Figures figures_of(const DenseDecodeDescriptor& d, std::span<const int32_t> seq_lens) {
  const bool causal = (d.flags & SEESAW_CAUSAL) != 0;
  double visible = 0;  // (query token, key) pairs
  Figures figures;
  for (const int32_t given : seq_lens) {
    const int64_t length = std::max(given, 0);
    figures.tokens += length;
    for (int64_t token = 0; token < d.s_q; ++token) {
      const int64_t keys = causal ? length - d.s_q + token + 1 : length;
      visible += static_cast<double>(std::max<int64_t>(keys, 0));
    }
  }
  const auto columns = static_cast<double>(d.d_qk + d.d_v);
  const auto rows = static_cast<double>(static_cast<int64_t>(seq_lens.size()) * d.s_q * d.h_q);
  figures.flops = 2 * visible * static_cast<double>(d.h_q) * columns;
  figures.bytes = static_cast<double>(figures.tokens * d.h_kv * d.d_qk) *
                      static_cast<double>(size_of(d.kv_dtype)) +
                  rows * columns * static_cast<double>(size_of(d.q_dtype));
  return figures;
}

}  // namespace seesaw::tools
