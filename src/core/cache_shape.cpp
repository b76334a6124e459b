#include "core/cache_shape.hpp"

#include "base/checked.hpp"
#include "base/message.hpp"

namespace seesaw {
namespace {

Status check_columns(const char* where, const CacheFormat& format, const CacheShape& shape) {
  const int64_t columns = token_elements(format);
  if (shape.columns == columns) {
    return {};
  }
  return invalid_argument(four_part_message(
      where, fmt::format("kv_columns = {} with format {}", shape.columns, format.name),
      fmt::format("{}: {}", columns,
                  is_plain(format.id) ? "a token's latent and rotary columns"
                                      : "bytes of a token, its scales behind the page included"),
      "Set kv_columns to the last dimension of the cache, or leave it 0."));
}

// Scales behind a page lie where page_size rows end: rows are packed, and there is one KV head.
Status check_tails(const char* where, const CacheFormat& format, const CacheShape& shape) {
  if (format.tail_bytes == 0) {
    return {};
  }
  if (shape.h_kv != 1) {
    return invalid_argument(
        four_part_message(where, fmt::format("h_kv = {} with format {}", shape.h_kv, format.name),
                          "1", "Use a format whose scales stand in the row, or one KV head."));
  }
  // Rounding a page up is the writer's affair: only what it holds has to fit.
  const int64_t bytes = shape.page_size * (format.row_bytes + format.tail_bytes);
  if (shape.page_stride >= bytes) {
    return {};
  }
  return invalid_argument(four_part_message(
      where, fmt::format("kv_page_stride = {} with format {}", shape.page_stride, format.name),
      fmt::format("{} bytes or more, a page of {} tokens with its scales", bytes, shape.page_size),
      "Allocate whole pages and view them with that stride."));
}

}  // namespace

Status complete_cache_shape(const char* where, const CacheFormat& format, CacheShape* shape) {
  const int64_t columns = token_elements(format);
  shape->columns = shape->columns == 0 ? columns : shape->columns;
  SEESAW_RETURN_IF_ERROR(check_columns(where, format, *shape));
  int64_t token = 0;
  int64_t page = 0;
  if (!checked_mul(shape->h_kv, columns, &token) || !checked_mul(token, shape->page_size, &page)) {
    return invalid_argument(four_part_message(where,
                                              fmt::format("page_size = {}, h_kv = {}, {} columns",
                                                          shape->page_size, shape->h_kv, columns),
                                              "a page of less than 2^63 elements",
                                              "Check the cache's shape."));
  }
  const auto resolve = [](int64_t* stride, int64_t packed) {
    *stride = *stride == 0 ? packed : *stride;
  };
  resolve(&shape->head_stride, columns);
  resolve(&shape->token_stride, token);
  resolve(&shape->page_stride, format.tail_bytes > 0 ? format.page_bytes(shape->page_size) : page);
  return check_tails(where, format, *shape);
}

}  // namespace seesaw
