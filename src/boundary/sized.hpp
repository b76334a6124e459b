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

// The struct_size that the caller set; every sized struct starts with it.
template <typename T>
Status read_struct_size(const char* where, const char* name, const T* from, uint64_t* size) {
  SEESAW_RETURN_IF_ERROR(require_pointer(where, from, name));
  std::memcpy(size, from, sizeof(*size));
  if (*size < sizeof(*size) || *size > 4096) {
    return invalid_argument(four_part_message(
        where, fmt::format("{}.struct_size = {}", name, *size),
        fmt::format("sizeof({}) = {}", name, sizeof(T)), "Set struct_size before anything else."));
  }
  return {};
}

// Copies a caller's struct: what an older caller lacks is zero, what a newer one adds must be.
template <typename T>
Status read_sized(const char* where, const char* name, const T* from, T* to) {
  uint64_t size = 0;
  SEESAW_RETURN_IF_ERROR(read_struct_size(where, name, from, &size));
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  const uint64_t known = std::min<uint64_t>(size, sizeof(T));
  if (std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return not_supported(four_part_message(
        where, fmt::format("{} of {} bytes with fields of a newer version set", name, size),
        fmt::format("the {} bytes of version {}", sizeof(T), SEESAW_VERSION_STRING),
        "Zero the newer fields, or use a newer library."));
  }
  *to = T{};
  std::memcpy(to, from, known);
  return {};
}

// Writes as much of `from` as the caller's struct_size holds; what a newer caller has beyond it
// stays.
template <typename T>
Status write_sized(const char* where, const char* name, const T& from, T* to) {
  uint64_t size = 0;
  SEESAW_RETURN_IF_ERROR(read_struct_size(where, name, to, &size));
  std::memcpy(to, &from, std::min<uint64_t>(size, sizeof(T)));
  to->struct_size = size;
  return {};
}

}  // namespace seesaw
