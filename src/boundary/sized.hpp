// Structs of the C ABI, of any version: each starts with uint64_t struct_size.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/message.hpp"
#include "seesaw/seesaw.h"

namespace seesaw {

// `where` begins the message.
inline Status require_pointer(const char* where, const void* pointer, const char* name) {
  if (pointer != nullptr) {
    return {};
  }
  return invalid_argument(four_part_message(where, fmt::format("{} = NULL", name),
                                            "a valid pointer", "Pass its address."));
}

// The struct_size that the caller set; every sized struct starts with it. `known` is the struct's
// size here.
inline Status read_struct_size(const char* where, const char* name, const void* from, size_t known,
                               uint64_t* size) {
  SEESAW_RETURN_IF_ERROR(require_pointer(where, from, name));
  std::memcpy(size, from, sizeof(*size));
  // A size that cuts a field, a pointer even, in two is no version's: all are multiples of 8.
  if (*size < sizeof(*size) || *size > 4096 || *size % sizeof(*size) != 0) {
    return invalid_argument(four_part_message(
        where, fmt::format("{}.struct_size = {}", name, *size),
        fmt::format("sizeof({}) = {}", name, known), "Set struct_size before anything else."));
  }
  return {};
}

// Copies a caller's struct into one of `known` bytes: what an older caller lacks is zero, what a
// newer one adds must be.
inline Status read_sized(const char* where, const char* name, const void* from, size_t known,
                         void* to) {
  uint64_t size = 0;
  SEESAW_RETURN_IF_ERROR(read_struct_size(where, name, from, known, &size));
  const auto* bytes = static_cast<const unsigned char*>(from);
  const uint64_t common = std::min<uint64_t>(size, known);
  if (std::any_of(bytes + common, bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return not_supported(four_part_message(
        where, fmt::format("{} of {} bytes with fields of a newer version set", name, size),
        fmt::format("the {} bytes of version {}", known, SEESAW_VERSION_STRING),
        "Zero the newer fields, or use a newer library."));
  }
  std::memset(to, 0, known);
  std::memcpy(to, from, common);
  return {};
}
template <typename T>
Status read_sized(const char* where, const char* name, const T* from, T* to) {
  return read_sized(where, name, from, sizeof(T), to);
}

// Writes as much of `from` as the caller's struct_size holds; what a newer caller has beyond it
// stays.
template <typename T>
Status write_sized(const char* where, const char* name, const T& from, T* to) {
  uint64_t size = 0;
  SEESAW_RETURN_IF_ERROR(read_struct_size(where, name, to, sizeof(T), &size));
  std::memcpy(to, &from, std::min<uint64_t>(size, sizeof(T)));
  to->struct_size = size;
  return {};
}

// The size of a caller's rows: at least their first field.
inline Status check_row_bytes(const char* where, uint64_t row_bytes, size_t known) {
  if (row_bytes < sizeof(uint64_t) || row_bytes > 4096) {
    return invalid_argument(four_part_message(where, fmt::format("row_bytes = {}", row_bytes),
                                              fmt::format("sizeof of a row = {}", known),
                                              "Pass sizeof(*rows)."));
  }
  return {};
}

// Writes row `index` of a list whose rows are `row_bytes` apart: as much of `row` as they hold.
template <typename T>
void write_row(const T& row, uint64_t index, uint64_t row_bytes, void* rows) {
  std::memcpy(static_cast<char*>(rows) + index * row_bytes, &row,
              std::min<uint64_t>(row_bytes, sizeof(T)));
}

}  // namespace seesaw
