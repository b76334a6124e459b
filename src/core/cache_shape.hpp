// The shape of a paged cache tensor [num_pages, page_size, h_kv, columns]: what a format asks of
// it.
#pragma once

#include <cstdint>

#include "base/status.hpp"
#include "core/cache_format.hpp"

namespace seesaw {

// Fields of an operation's problem; 0: not given. Strides count elements.
struct CacheShape {
  int64_t page_size = 0;
  int64_t h_kv = 1;
  int64_t columns = 0;
  int64_t page_stride = 0;
  int64_t token_stride = 0;
  int64_t head_stride = 0;
};

// Fills in what is not given, packed, and holds the rest against the format.
Status complete_cache_shape(const char* where, const CacheFormat& format, CacheShape* shape);

}  // namespace seesaw
