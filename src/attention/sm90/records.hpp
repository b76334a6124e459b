// How the records of a format become boxes.
#pragma once

#include <cstdint>
#include <optional>

#include "attention/problem.hpp"
#include "attention/sm90/config.hpp"

namespace seesaw::attention::sm90 {

// Whether records are rows of the queries' type, which are copied.
bool copies(const CacheFormat& format, DType q_type);

// How e4m3 records are cut into boxes and scaled; nothing if the producers cannot.
std::optional<RecordBoxes> boxes_of(const CacheFormat& format);

}  // namespace seesaw::attention::sm90
