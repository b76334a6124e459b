// A case of merge_states on the host: partial results of random rows, empty parts and NaN where
// nothing may be read, with the truth in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/float16.hpp"
#include "lab/accuracy_math.hpp"
#include "seesaw/ops/merge_states.h"

namespace seesaw::testing {

enum class LseOrder { kTokensHeads, kHeadsTokens };  // of an LSE's memory

struct MergeSpec {
  int64_t parts = 2;
  int64_t b = 3;
  int64_t s = 1;
  int64_t h = 4;
  int64_t d_v = 512;
  seesaw_dtype dtype = SEESAW_BFLOAT16;
  int32_t lse_base = SEESAW_LSE_NATURAL;
  int32_t empty_lse = SEESAW_EMPTY_LSE_NEGATIVE_INFINITY;
  LseOrder order = LseOrder::kTokensHeads;
  int64_t gap = 0;      // elements between a head's columns and the next's
  float spread = 3.0F;  // deviation of the LSEs
  uint64_t seed = 1;
};

struct MergeTruth {
  std::vector<double> out;          // [b, s, h, d_v]
  std::vector<double> magnitude;    // of out: sum of weight * abs(value) / sum of weights
  std::vector<double> lse;          // [b, s, h]
  std::vector<double> largest_lse;  // of a part, in magnitude and natural units
};

// Elements of one dtype in memory.
class Elements {
 public:
  Elements(seesaw_dtype dtype, size_t count) : dtype_(dtype), bytes_(count * size(), 0xFF) {}
  size_t size() const { return dtype_ == SEESAW_FLOAT32 ? 4 : 2; }
  void* data() { return bytes_.data(); }
  size_t size_bytes() const { return bytes_.size(); }
  // As stored.
  float set(size_t i, float value) {
    if (dtype_ == SEESAW_BFLOAT16) return to_float(put<BFloat16>(i, from_float<BFloat16>(value)));
    if (dtype_ == SEESAW_FLOAT16) return to_float(put<Float16>(i, from_float<Float16>(value)));
    return put<float>(i, value);
  }
  float get(size_t i) const {
    if (dtype_ == SEESAW_BFLOAT16) return to_float(at<BFloat16>(i));
    if (dtype_ == SEESAW_FLOAT16) return to_float(at<Float16>(i));
    return at<float>(i);
  }

 private:
  template <typename T>
  T put(size_t i, T value) {
    reinterpret_cast<T*>(bytes_.data())[i] = value;
    return value;
  }
  template <typename T>
  T at(size_t i) const {
    return reinterpret_cast<const T*>(bytes_.data())[i];
  }

  seesaw_dtype dtype_;
  std::vector<unsigned char> bytes_;
};

class MergeCase {
 public:
  explicit MergeCase(const MergeSpec& spec)
      : spec_(spec),
        rows_(spec.b * spec.s * spec.h),
        out(spec.dtype, elements()),
        lse(static_cast<size_t>(rows_), std::numeric_limits<float>::quiet_NaN()) {
    std::mt19937_64 random(spec.seed);
    std::normal_distribution<float> normal;
    truth.out.assign(static_cast<size_t>(rows_ * spec.d_v), 0.0);
    truth.magnitude = truth.out;
    truth.lse.assign(static_cast<size_t>(rows_), 0.0);
    truth.largest_lse = truth.lse;
    for (int64_t i = 0; i < spec.parts; ++i) {
      outs.emplace_back(spec.dtype, elements());
      lses.emplace_back(static_cast<size_t>(rows_), 0.0F);
    }
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = 0; i < spec.parts; ++i) {
        // Every seventh part of a row is empty, by either convention; its columns stay NaN. Row 5
        // has no part at all.
        const bool empty = (row + 3 * i) % 7 == 0 || row == 5;
        const float sign = i % 2 == 0 ? -1.0F : 1.0F;
        lses[static_cast<size_t>(i)][lse_index(row)] =
            empty ? sign * std::numeric_limits<float>::infinity() : spec.spread * normal(random);
        for (int64_t c = 0; c < spec.d_v && !empty; ++c) {
          outs[static_cast<size_t>(i)].set(out_index(row, c), normal(random));
        }
      }
      solve(row);
    }
  }

  // The definition, in double.
  void solve(int64_t row) {
    const double unit = spec_.lse_base == SEESAW_LSE_BASE2 ? std::log(2.0) : 1.0;
    double sum = 0.0;
    double& largest = truth.largest_lse[static_cast<size_t>(row)];
    largest = 0.0;
    std::vector<double> values(static_cast<size_t>(spec_.d_v), 0.0);
    std::vector<double> magnitudes(static_cast<size_t>(spec_.d_v), 0.0);
    for (size_t i = 0; i < outs.size(); ++i) {
      const double found = static_cast<double>(lses[i][lse_index(row)]);
      if (std::isinf(found)) continue;
      largest = std::max(largest, std::abs(found * unit));
      const double weight = std::exp(found * unit);
      sum += weight;
      for (int64_t c = 0; c < spec_.d_v; ++c) {
        const double value = static_cast<double>(outs[i].get(out_index(row, c)));
        values[static_cast<size_t>(c)] += weight * value;
        magnitudes[static_cast<size_t>(c)] += weight * std::abs(value);
      }
    }
    for (int64_t c = 0; c < spec_.d_v; ++c) {
      truth.out[static_cast<size_t>(row * spec_.d_v + c)] =
          sum == 0.0 ? 0.0 : values[static_cast<size_t>(c)] / sum;
      truth.magnitude[static_cast<size_t>(row * spec_.d_v + c)] =
          sum == 0.0 ? 0.0 : magnitudes[static_cast<size_t>(c)] / sum;
    }
    const double infinity = std::numeric_limits<double>::infinity();
    const bool positive = spec_.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY;
    truth.lse[static_cast<size_t>(row)] =
        sum == 0.0 ? (positive ? infinity : -infinity) : std::log(sum) / unit;
  }

  int64_t rows() const { return rows_; }
  const MergeSpec& spec() const { return spec_; }
  size_t elements() const { return static_cast<size_t>(rows_ * (spec_.d_v + spec_.gap)); }
  size_t out_index(int64_t row, int64_t column) const {
    return static_cast<size_t>(row * (spec_.d_v + spec_.gap) + column);
  }
  // Of row (b * S + s) * H + h in the LSE's memory.
  size_t lse_index(int64_t row) const {
    if (spec_.order == LseOrder::kTokensHeads) return static_cast<size_t>(row);
    const int64_t tokens = spec_.b * spec_.s;
    return static_cast<size_t>(row % spec_.h * tokens + row / spec_.h);
  }

  seesaw_merge_states_problem problem() const {
    return {.dtype = spec_.dtype,
            .lse_base = spec_.lse_base,
            .empty_lse = spec_.empty_lse,
            .num_parts = spec_.parts,
            .batch = spec_.b > 0 ? spec_.b : 1,
            .s = spec_.s,
            .h = spec_.h,
            .d_v = spec_.d_v};
  }
  seesaw_tensor out_tensor(void* data, seesaw_device device = kCpu) const {
    seesaw_tensor tensor =
        make_tensor(data, spec_.dtype, {spec_.b, spec_.s, spec_.h, spec_.d_v}, device);
    tensor.stride[2] = spec_.d_v + spec_.gap;
    tensor.stride[1] = spec_.h * tensor.stride[2];
    tensor.stride[0] = spec_.s * tensor.stride[1];
    return tensor;
  }
  seesaw_tensor lse_tensor(void* data, seesaw_device device = kCpu) const {
    seesaw_tensor tensor = make_tensor(data, SEESAW_FLOAT32, {spec_.b, spec_.s, spec_.h}, device);
    if (spec_.order == LseOrder::kHeadsTokens) {
      tensor.stride[0] = spec_.s;
      tensor.stride[1] = 1;
      tensor.stride[2] = spec_.b * spec_.s;
    }
    return tensor;
  }

  // "" if out and lse are within the contract's bounds, else where they are not.
  std::string compare() const {
    const double unit = spec_.lse_base == SEESAW_LSE_BASE2 ? std::log(2.0) : 1.0;
    for (int64_t row = 0; row < rows_; ++row) {
      const MergeBound bound = bound_of(row);
      for (int64_t c = 0; c < spec_.d_v; ++c) {
        const auto i = static_cast<size_t>(row * spec_.d_v + c);
        const double got = static_cast<double>(out.get(out_index(row, c)));
        const double want = truth.out[i];
        const double allowed = bound.weight * truth.magnitude[i] +
                               (bound.weight + bound.out) * std::abs(want) + bound.least;
        if (!(std::abs(got - want) <= allowed)) {
          return "out[" + std::to_string(row) + ", " + std::to_string(c) +
                 "] = " + std::to_string(got) + ", want " + std::to_string(want);
        }
      }
      const double got = static_cast<double>(lse[lse_index(row)]);
      const double want = truth.lse[static_cast<size_t>(row)];
      const double allowed =
          bound.weight / unit + 4 * lab::kFloatRoundoff * (1 / unit + std::abs(want));
      if (!(got == want || std::abs(got - want) <= allowed)) {
        return "lse[" + std::to_string(row) + "] = " + std::to_string(got) + ", want " +
               std::to_string(want);
      }
    }
    return "";
  }

 private:
  // Of a row: the relative error of a part's weight and of their sum, of the output's rounding,
  // and the output's least.
  struct MergeBound {
    double weight;
    double out;
    double least;
  };
  // As docs/guide/06-numerics.md for dense_decode, with a part for a key: an LSE is multiplied,
  // and the largest subtracted, in float (8 roundings); sums of `parts` and 16 roundings more.
  MergeBound bound_of(int64_t row) const {
    const double largest = truth.largest_lse[static_cast<size_t>(row)];
    const lab::Rounding rounding = lab::rounding_of(spec_.dtype, spec_.dtype);
    const double sums = static_cast<double>(spec_.parts) + lab::kFixedRoundings;
    return {std::expm1(8 * lab::kFloatRoundoff * largest) + sums * lab::kFloatRoundoff,
            rounding.out + lab::kFloatRoundoff, rounding.out * rounding.least_out};
  }

  MergeSpec spec_;
  int64_t rows_;

 public:
  std::vector<Elements> outs;
  std::vector<std::vector<float>> lses;
  Elements out;            // what a run writes; poisoned
  std::vector<float> lse;  // likewise
  MergeTruth truth;
};

}  // namespace seesaw::testing
