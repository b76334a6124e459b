// Memory for what a fuzzed call points to: exactly as much as the caller claims, so that
// AddressSanitizer sees the first byte read or written beyond it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "input.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::fuzz {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Bytes = std::unique_ptr<unsigned char, Free>;

inline Bytes allocate(size_t bytes, size_t alignment = alignof(std::max_align_t)) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, std::max<size_t>(bytes, 1)) != 0) {
    std::abort();
  }
  return Bytes(static_cast<unsigned char*>(memory));
}

// A copy of a struct of the C ABI in as many bytes as its struct_size says: of a smaller one the
// rest is not there, of a larger one it is zero. At least struct_size itself, at most the 4096
// bytes that the library reads of any struct.
template <typename T>
class Sized {
 public:
  explicit Sized(const T& from) {
    const size_t bytes = std::clamp<uint64_t>(from.struct_size, sizeof(uint64_t), 4096);
    bytes_ = allocate(bytes);
    std::memset(bytes_.get(), 0, bytes);
    std::memcpy(bytes_.get(), &from, std::min(bytes, sizeof(T)));
  }
  T* get() const { return reinterpret_cast<T*>(bytes_.get()); }

 private:
  Bytes bytes_;
};

// What one call may touch. Larger views get no memory, and so have to be refused.
constexpr uint64_t kMostElements = 1 << 13;
constexpr uint64_t kMostBytes = 1 << 15;

constexpr uint64_t size_of(int32_t dtype) {
  switch (dtype) {
    case SEESAW_UINT8:
      return 1;
    case SEESAW_BFLOAT16:
    case SEESAW_FLOAT16:
      return 2;
    case SEESAW_INT64:
      return 8;
    default:
      return 4;
  }
}

// Bytes from a view's first element to its last; nothing if it is too large, or none.
inline std::optional<uint64_t> view_bytes(const seesaw_tensor& tensor) {
  if (tensor.rank < 0 || tensor.rank > SEESAW_MAX_RANK) {
    return size_of(tensor.dtype);  // refused before anything is read
  }
  uint64_t elements = 1;
  uint64_t last = 0;
  for (int32_t i = 0; i < tensor.rank; ++i) {
    const auto extent = static_cast<uint64_t>(tensor.shape[i]);
    const auto stride = static_cast<uint64_t>(tensor.stride[i]);  // a negative one is large
    if (extent == 0) {
      return 0;
    }
    if (extent > kMostElements || elements * extent > kMostElements ||
        (extent > 1 && stride > kMostBytes)) {
      return std::nullopt;
    }
    elements *= extent;
    last += extent > 1 ? (extent - 1) * stride : 0;
  }
  const uint64_t bytes = (last + 1) * size_of(tensor.dtype);
  return bytes <= kMostBytes ? std::optional<uint64_t>(bytes) : std::nullopt;
}

// A tensor's memory; places itself into the tensor.
class TensorMemory {
 public:
  // kSlots: page ids and places in one, of 32 or 64 bits, each once. kLists: the same in any order.
  // kGrowing: sums of small numbers.
  enum class Fill : uint8_t { kNumbers, kIds, kLengths, kSlots, kLists, kGrowing, kPoison };

  TensorMemory(Input& input, Fill fill, seesaw_tensor* tensor) {
    const std::optional<uint64_t> bytes = view_bytes(*tensor);
    if (!bytes.has_value() || input.one_in(32)) {
      tensor->data = nullptr;
      return;
    }
    const size_t offset = input.one_in(32) ? 1 : 0;  // unaligned
    size_ = *bytes + offset;
    bytes_ = allocate(size_, 64);
    tensor->data = bytes_.get() + offset;
    std::memset(bytes_.get(), 0xFF, size_);
    switch (fill) {
      case Fill::kNumbers:
        fill_numbers(tensor->dtype);
        break;
      case Fill::kIds:
        fill_integers(input, 0, 3);
        break;
      case Fill::kLengths:
        fill_integers(input, 9, 40);
        break;
      case Fill::kSlots:
        fill_slots(input, tensor->dtype);
        break;
      case Fill::kLists:
        fill_integers(input, 0, 16);
        break;
      case Fill::kGrowing:
        fill_growing(input);
        break;
      case Fill::kPoison:
        return;
    }
  }

  const unsigned char* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  // About 1/8 (bfloat16, float32) or 3/2 (float16), of either sign; bytes are any.
  void fill_numbers(int32_t dtype) {
    const size_t element = std::max<size_t>(size_of(dtype), 2);
    uint32_t random = 1;
    for (size_t at = 0; at + element <= size_; at += element) {
      random = random * 1'664'525U + 1'013'904'223U;
      const auto high = static_cast<uint16_t>(0x3E00U | (random >> 16U & 0x807FU));
      std::memcpy(bytes_.get() + at + element - 2, &high, 2);
    }
  }

  // Mostly different ones, as they have to be; some that are negative or beyond any cache.
  void fill_slots(Input& input, int32_t dtype) {
    const size_t element = size_of(dtype);
    int64_t next = 0;
    for (size_t at = 0; at + element <= size_; at += element) {
      const uint8_t choice = at < 256 ? input.byte() : uint8_t{0};
      const int64_t value = choice < 240   ? next++
                            : choice < 248 ? -1
                            : choice < 252 ? INT64_MAX
                                           : INT64_MIN;
      std::memcpy(bytes_.get() + at, &value, std::min(element, sizeof(value)));
    }
  }

  void fill_growing(Input& input) {
    uint32_t sum = 0;  // wraps, as a caller's may
    for (size_t at = 0; at + 4 <= size_; at += 4) {
      std::memcpy(bytes_.get() + at, &sum, 4);
      const uint8_t choice = at < 256 ? input.byte() : uint8_t{0};
      sum = choice < 250 ? sum + choice % 3U : choice < 253 ? INT32_MAX : UINT32_MAX;
    }
  }

  // Mostly 0 to most - 1, beginning with `first`; what the input has no byte for is `first`.
  void fill_integers(Input& input, int32_t first, int32_t most) {
    for (size_t at = 0; at + 4 <= size_; at += 4) {
      const uint8_t choice = at < 256 ? input.byte() : uint8_t{0};
      const int32_t value = choice < 250   ? (first + choice) % most
                            : choice < 252 ? -1
                            : choice < 254 ? INT32_MAX
                                           : INT32_MIN;
      std::memcpy(bytes_.get() + at, &value, 4);
    }
  }

  Bytes bytes_;
  size_t size_ = 0;
};

}  // namespace seesaw::fuzz
