// How far results are from the reference, against what is allowed (accuracy.hpp), and how the
// errors are distributed. No mean excuses a maximum: one element out of bound fails the case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace seesaw::lab {

// The largest errors that results may have, by element; what is beyond them is out of bound.
struct Allowed {
  std::vector<double> out;              // [b, s_q, h_q, d_v] or [total_q, h_q, d_v], beside
  std::vector<double> out_relative;     // [b, s_q, h_q] or [total_q, h_q] times |reference|
  std::vector<double> lse;              // [b, h_q, s_q] or [h_q, total_q]
  std::vector<double> max_logits = {};  // the same; not compared by compare()
  double cosine = std::numeric_limits<double>::infinity();  // distance of out as a whole
};

// error / allowed: above 1 is out of bound. 0 where result and reference say the same, NaN and
// infinities included; infinite where only one is NaN or infinite.
double of_bound(double result, double reference, double allowed);

// Percentiles of many non-negative numbers in little memory: buckets of 1/256 of a binade.
class Distribution {
 public:
  Distribution() : counts_(kBuckets, 0) {}
  void add(double value);  // NaN counts as infinite
  void merge(const Distribution& other);
  double percentile(double fraction) const;  // to 1/256; the maximum is exact
  double max() const { return max_; }
  double mean() const { return total_ > 0 ? sum_ / static_cast<double>(total_) : 0; }
  uint64_t count() const { return total_; }

 private:
  static constexpr size_t kBuckets = size_t{1} << 16;
  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
  double sum_ = 0;
  double max_ = 0;
};

struct ErrorStatistics {
  Distribution out_error;     // |out - reference|
  Distribution out_of_bound;  // the same / its bound: above 1 is out of bound
  Distribution lse_of_bound;
  uint64_t bad_out = 0;  // elements out of bound
  uint64_t bad_lse = 0;
  double cosine = 0;      // distance, the largest of a case; NaN and infinities aside
  bool cosine_ok = true;  // as far as it is bounded
  bool repeats = true;    // a second run gave the same bits
  std::string worst;      // where and what the element farthest out of bound was; empty if none was

  bool ok() const;
  std::string text() const;  // a line
  void merge(const ErrorStatistics& other);
};

// What is compared, packed: out [b, s_q, h_q, d_v] and lse [b, h_q, s_q]; of ragged queries
// [total_q, h_q, d_v] and [h_q, total_q].
template <typename T>
struct ResultsOf {
  std::vector<T> out;
  std::vector<T> lse;
};
using Results = ResultsOf<float>;

// To name an element.
struct ResultShape {
  int64_t s_q = 1;  // if ragged total_q
  int64_t h_q = 1;
  int64_t d_v = 1;
  bool ragged = false;
};

// T: float or double. Over fewer than `fewest_for_cosine` elements there is no cosine distance.
template <typename T>
ErrorStatistics compare(const ResultsOf<T>& result, const ResultsOf<T>& reference,
                        const Allowed& allowed, const ResultShape& shape,
                        size_t fewest_for_cosine = 0);

// The check of FlashMLA's own test suite: |error| <= absolute + relative * |reference|. It holds
// for inputs like that suite's (queries of deviation up to about 1, a cache of deviation 0.1 within
// +-1), where it is looser than the contract for outputs and a cosine distance bounds them as a
// whole. It is not a bound that 16-bit probabilities can meet on other inputs: values that cancel
// leave a small reference, and the error is in proportion to their magnitudes (decision 0031).
struct FlashMlaSuite {
  double out_absolute = 8e-4;
  double out_relative = 2.0 / 128;
  double lse_absolute = 1e-6;
  double lse_relative = 8.0 / 65536;
  double cosine = 5e-6;
};
template <typename T>
Allowed flash_mla_suite(const ResultsOf<T>& reference, const ResultShape& shape);

}  // namespace seesaw::lab
