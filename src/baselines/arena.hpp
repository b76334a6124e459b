// Memory for intermediates, handed out from the front of one workspace of the caller's, and given
// back in reverse order. With no workspace it only measures: addresses are then never to be read.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/math.hpp"
#include "baselines/view.hpp"

namespace seesaw::baselines {

class Arena {
 public:
  static constexpr uint64_t kAlignment = 256;

  // Measures.
  Arena() = default;
  // Hands out `workspace`, whose size was measured, aligned to kAlignment.
  explicit Arena(void* workspace) : base_(static_cast<char*>(workspace)) {}

  View allocate(DType dtype, Dims shape) {
    View view = packed(nullptr, dtype, shape);
    view.data = allocate_bytes(static_cast<uint64_t>(view.elements() * size_of(dtype)));
    return view;
  }

  void* allocate_bytes(uint64_t bytes) {
    const uint64_t begin = used_;
    used_ += round_up(bytes, kAlignment);
    peak_ = std::max(peak_, used_);
    // While measuring: an address that is not null, so that views are present.
    return base_ != nullptr ? base_ + begin : reinterpret_cast<char*>(kAlignment + begin);
  }

  uint64_t peak_bytes() const { return peak_; }

  // Gives back, at its end, everything allocated during its life.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
    ~Scope() { arena_.used_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    uint64_t mark_;
  };

 private:
  char* base_ = nullptr;
  uint64_t used_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace seesaw::baselines
