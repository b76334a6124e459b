// Memory between guard bands: shows a write before its beginning or past its end, also in builds
// without AddressSanitizer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace seesaw::testing {

class GuardedBuffer {
 public:
  static constexpr size_t kAlignment = 256;
  static constexpr size_t kBandBytes = 4096;
  static constexpr unsigned char kBandByte = 0xA5;
  static constexpr unsigned char kPoisonByte = 0xFF;  // all ones: NaN in every float type

  // `size` bytes, aligned to 256, filled with poison.
  explicit GuardedBuffer(size_t size) : size_(size) {
    base_ = static_cast<unsigned char*>(
        ::operator new (kBandBytes + size + kBandBytes, std::align_val_t{kAlignment}));
    std::memset(base_, kBandByte, kBandBytes + size + kBandBytes);
    poison();
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer() { ::operator delete (base_, std::align_val_t{kAlignment}); }

  unsigned char* data() const { return base_ + kBandBytes; }
  size_t size() const { return size_; }

  void poison() { std::memset(data(), kPoisonByte, size_); }

  bool intact() const {
    for (size_t i = 0; i < kBandBytes; ++i) {
      if (base_[i] != kBandByte || base_[kBandBytes + size_ + i] != kBandByte) {
        return false;
      }
    }
    return true;
  }

 private:
  unsigned char* base_ = nullptr;
  size_t size_;
};

}  // namespace seesaw::testing
