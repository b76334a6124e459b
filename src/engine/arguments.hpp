// The arguments of a call against the problem that was planned, by the operation's table: what can
// be known from shapes is worked out when planning, so that a call compares numbers only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"
#include "engine/read.hpp"

namespace seesaw::engine {

class ArgumentChecker {
 public:
  // For a complete problem and the device of its tensors.
  ArgumentChecker(const Operation& operation, const void* problem, Device device);

  // Every tensor and number; with `prepare`, only what seesaw_plan_prepare reads. `args` is the
  // operation's struct, of this version. Touches no data.
  Status check(const void* args, bool prepare) const;

 private:
  static constexpr int kMostSymbols = 12;
  static constexpr int32_t kAny = -1;

  // A size that the problem does not fix: the same in all arguments of a call.
  struct Symbol {
    std::string_view name;
    const Field* bound = nullptr;  // the field that is its largest value
    int64_t most = INT64_MAX;
  };
  struct Dimension {
    int64_t expected = kAny;
    int32_t symbol = kAny;
    int64_t stride = kAny;  // as planned; kAny: any
    const Field* stride_field = nullptr;
  };
  struct Expected {
    const Arg* arg = nullptr;
    const char* shape = "";            // of the argument, in this problem
    int64_t lacking = 0;               // columns that another argument brings
    const Field* unplanned = nullptr;  // the field that would have to say that it may be given
    const Field* needed_by = nullptr;  // the field that says that it has to be given
    int64_t needed_value = 0;          // of that field
    DType dtype = DType::kFloat32;
    int32_t rank = 0;
    int64_t list_size = kAny;  // of a list of tensors
    std::array<Dimension, kMaxRank> dims{};
  };
  using Sizes = std::array<int64_t, kMostSymbols>;  // of the symbols met so far; kAny: not yet

  Expected expect(const Arg& arg, const Operation& operation, const void* problem);
  int32_t symbol_of(std::string_view name, const Operation& operation, const void* problem);
  std::string shape_wanted(const Expected& expected, const Sizes& sizes) const;
  Status check_given(const Expected& expected, const Tensor& tensor) const;
  Status check_shape(const Expected& expected, const Tensor& tensor, Sizes* sizes) const;
  Status check_tensor(const Expected& expected, const Tensor& tensor, Sizes* sizes) const;
  Status check_scalars(const void* args) const;

  static ReservedBytes reserved_bytes(const Operation& operation);

  const Operation& operation_;
  Device device_;
  ReservedBytes reserved_;
  std::vector<Symbol> symbols_;
  std::vector<Expected> expected_;
  // Numbers that a call must not bring, each with the field that would have to say that it may.
  std::vector<std::pair<const Field*, const Field*>> unplanned_numbers_;
};

}  // namespace seesaw::engine
