// A fuzzer's bytes, read as choices. Once they are used up every choice is the first, so an empty
// input is a plain call that works, and each byte more departs from it.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>

namespace seesaw::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t byte() { return next_ < size_ ? data_[next_++] : uint8_t{0}; }
  uint32_t below(uint32_t count) { return byte() % count; }
  bool one_in(uint32_t count) { return below(count) == count - 1; }

  // Numbers that checks and sums tend to get wrong, small ones, or any.
  int64_t number() {
    constexpr int64_t kNumbers[] = {
        0,         1,         -1,        2,         64,        4096,      65'535,    65'536,
        INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1LL << 31, 1LL << 32, 1 << 20,   1LL << 40,
        1LL << 60, 1LL << 62, 7,         8,         104,       4097,      1LL << 61, INT64_MAX / 3};
    const uint8_t choice = byte();
    if (choice < std::size(kNumbers)) {
      return kNumbers[choice];
    }
    if (choice < 200) {
      return static_cast<int8_t>(byte());
    }
    int64_t number = 0;
    for (size_t i = 0; i < sizeof(number); ++i) {
      number = static_cast<int64_t>(static_cast<uint64_t>(number) << 8U | byte());
    }
    return number;
  }

  // Up to `most` bytes, any but zero.
  std::string text(uint32_t most) {
    std::string text(below(most + 1), ' ');
    for (char& letter : text) {
      const uint8_t next = byte();
      letter = next == 0 ? ' ' : static_cast<char>(next);
    }
    return text;
  }

  // Overwrites one word of a plain struct, 4 or 8 bytes wide.
  template <typename T>
  void damage(T* target) {
    constexpr uint32_t kWords = sizeof(T) / 4;
    static_assert(sizeof(T) % 4 == 0 && kWords <= 512);
    const uint32_t word = kWords <= 256 ? below(kWords) : (below(2) * 256 + byte()) % kWords;
    const int64_t number = this->number();
    const size_t bytes = 4 * word + 8 <= sizeof(T) && one_in(2) ? 8 : 4;
    std::memcpy(reinterpret_cast<char*>(target) + size_t{4} * word, &number, bytes);
  }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t next_ = 0;
};

}  // namespace seesaw::fuzz
