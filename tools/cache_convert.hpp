// A case's cache in another format, page by page, by the library's own gather and append.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "describe.hpp"
#include "seesaw/ops/append.h"
#include "seesaw/ops/dense_decode.h"
#include "seesaw/ops/gather.h"

namespace seesaw::tools {

// What becomes of the numbers.
struct Conversion {
  int32_t format = 0;      // seesaw_format
  int64_t d_latent = 0;    // columns that are not rotary
  int64_t columns = 0;     // of a token
  int64_t token_elements;  // of the new cache's last dimension
  int32_t scales = SEESAW_SCALES_POWER_OF_TWO;
  float kv_scale = 1.0F;  // of formats with one scale
};

// Sums over numbers before and after.
struct Loss {
  uint64_t numbers = 0;
  double largest_error = 0.0;
  double largest_relative_error = 0.0;  // of numbers that are not 0
  double squared_errors = 0.0;
  double squares = 0.0;

  void add(double before, double after);
  double rms() const;
  double relative_rms() const;  // over the numbers' own root mean square
};

class PageConverter {
 public:
  // The case's problem is complete, its cache in host memory and of one KV head.
  PageConverter(const seesaw_dense_decode_problem& problem, const seesaw_dense_decode_args& inputs,
                const Conversion& conversion);

  // The page in the new format, packed; valid until the next call.
  const std::vector<std::byte>& convert(int64_t page);

  // Of that page: its first `tokens` tokens' numbers before and after.
  void add_loss(int64_t tokens, Loss* loss) const;
  // The largest finite magnitude among its first `tokens` tokens.
  float largest_before(int64_t tokens) const;
  uint64_t saturated() const { return static_cast<uint64_t>(saturated_); }

 private:
  Gather reader_of(const seesaw_dense_decode_problem& problem) const;
  void read_new_page();

  Conversion conversion_;
  int64_t page_size_;
  seesaw_tensor source_;  // [num_pages, page_size, kv_columns]
  seesaw_tensor source_scale_;
  Gather reader_;
  Append writer_;
  Gather new_reader_;
  std::vector<std::byte> page_;
  std::vector<float> before_;  // [page_size, columns]
  std::vector<float> after_;
  std::vector<int64_t> slots_;  // of the page in the source
  std::vector<int64_t> own_slots_;
  int64_t saturated_ = 0;
};

}  // namespace seesaw::tools
