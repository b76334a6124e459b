// How the records of a format become boxes.
#pragma once

#include <cstdint>
#include <optional>

#include "attention/call.hpp"
#include "attention/sm90/config.hpp"

namespace seesaw::attention::sm90 {

// Whether records are rows of the queries' type, which are copied.
bool copies(const CacheFormat& format, DType q_type);

// How a cache's rows are numbered; nothing if 32 bits do not do.
std::optional<RowNumbers> row_numbers_of(const Stream& stream, int64_t h_kv);

// How e4m3 records are cut into boxes and scaled; nothing if the producers cannot.
std::optional<RecordBoxes> boxes_of(const CacheFormat& format);

}  // namespace seesaw::attention::sm90
