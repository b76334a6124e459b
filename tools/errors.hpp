// How far results are from the reference, against the bounds of the contract, and how the errors
// are distributed. No mean excuses a maximum: one element out of bound fails the case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace seesaw::tools {

// Of docs/contract.md: |result - reference| <= absolute + relative * |reference|.
struct Bound {
  double absolute;
  double relative;
};
inline constexpr Bound kOutBound{8e-4, 2.0 / 128};
inline constexpr Bound kLseBound{1e-6, 8.0 / 65536};
inline constexpr double kCosineBound = 5e-6;

// Percentiles of many non-negative numbers in little memory: buckets of 1/256 of a binade.
class Distribution {
 public:
  Distribution() : counts_(kBuckets, 0) {}
  void add(double value);  // NaN counts as infinite
  void merge(const Distribution& other);
  double percentile(double fraction) const;  // to 1/256; the maximum is exact
  double max() const { return max_; }
  uint64_t count() const { return total_; }

 private:
  static constexpr size_t kBuckets = size_t{1} << 16;
  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
  double max_ = 0;
};

struct ErrorStatistics {
  Distribution out_error;     // |out - reference|
  Distribution out_of_bound;  // the same / its bound: above 1 is out of bound
  Distribution lse_of_bound;
  double cosine = 0;    // distance, the largest of a case
  bool repeats = true;  // a second run gave the same bits
  std::string worst;    // where and what the first element out of bound was; empty if none was

  bool ok() const;
  void merge(const ErrorStatistics& other);
};

// What is compared: both as float, [b, s_q, h_q, d_v] and [b, h_q, s_q].
struct Results {
  std::vector<float> out;
  std::vector<float> lse;
};

ErrorStatistics compare(const Results& result, const Results& reference);

}  // namespace seesaw::tools
