// Matrix products by oneDNN for one call of a layer, whose sizes no plan could know: prepared while
// the call is rehearsed, run in the same order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "baselines/cpu/ops.hpp"
#include "baselines/cpu/products.hpp"

namespace seesaw::layers {

class CallProducts final : public baselines::cpu::Products {
 public:
  CallProducts() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}

  Status product(const baselines::Gemm& step) override {
    return scratch_ == nullptr ? prepare(step)
                               : products_[order_[next_++]].run(step, scratch_, stream_);
  }

  uint64_t scratch_bytes() const { return scratch_bytes_; }  // of the largest product so far

  // From here on products run: the i-th is the i-th that was prepared. scratch: not null.
  void start(void* scratch) { scratch_ = scratch; }

 private:
  Status prepare(const baselines::Gemm& step) {
    const baselines::cpu::ProductLayout layout = baselines::cpu::layout_of(step);
    const auto found = std::find(layouts_.begin(), layouts_.end(), layout);
    order_.push_back(static_cast<uint32_t>(found - layouts_.begin()));
    if (found == layouts_.end()) {
      layouts_.push_back(layout);
      products_.emplace_back(layout, layout, engine_);
      scratch_bytes_ = std::max(scratch_bytes_, products_.back().scratch_bytes());
    }
    return {};
  }

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<baselines::cpu::ProductLayout> layouts_;
  std::vector<baselines::cpu::Product> products_;  // of each layout
  std::vector<uint32_t> order_;                    // the i-th product's layout
  uint64_t scratch_bytes_ = 0;
  void* scratch_ = nullptr;
  size_t next_ = 0;  // of order_
};

}  // namespace seesaw::layers
