#include "lab/errors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace seesaw::lab {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 0 where both say the same, NaN and infinities included.
double distance(double result, double reference) {
  const bool same = result == reference || (std::isnan(result) && std::isnan(reference));
  const double error = std::fabs(result - reference);
  return same ? 0 : std::isnan(error) ? kInfinity : error;
}

std::string place_in_out(size_t index, const ResultShape& shape) {
  const auto i = static_cast<int64_t>(index);
  const int64_t row = i / shape.d_v;
  const std::string sequence =
      shape.ragged ? "" : fmt::format("{}, ", row / (shape.s_q * shape.h_q));
  return fmt::format("out[{}{}, {}, {}]", sequence, row / shape.h_q % shape.s_q, row % shape.h_q,
                     i % shape.d_v);
}

std::string place_in_lse(size_t index, const ResultShape& shape) {
  const auto i = static_cast<int64_t>(index);
  const std::string sequence = shape.ragged ? "" : fmt::format("{}, ", i / (shape.s_q * shape.h_q));
  return fmt::format("lse[{}{}, {}]", sequence, i / shape.s_q % shape.h_q, i % shape.s_q);
}

// Errors of one tensor; `allowed` and `place` tell of an element what is allowed and its name.
template <typename T, typename AllowedAt, typename Place>
uint64_t count_bad(const std::vector<T>& result, const std::vector<T>& reference, AllowedAt allowed,
                   Place place, Distribution* ratios, double* worst_ratio, std::string* worst) {
  uint64_t bad = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double ratio = of_bound(result[i], reference[i], allowed(i));
    ratios->add(ratio);
    bad += ratio > 1 ? 1 : 0;
    if (ratio > *worst_ratio) {
      *worst_ratio = ratio;
      *worst = fmt::format("{} = {}, reference {}, {:.3g} times the bound", place(i), result[i],
                           reference[i], ratio);
    }
  }
  return bad;
}

template <typename T>
double cosine_distance(const std::vector<T>& x, const std::vector<T>& y) {
  double product = 0;
  double squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto a = static_cast<double>(x[i]);
    const auto b = static_cast<double>(y[i]);
    if (std::isfinite(a) && std::isfinite(b)) {
      product += a * b;
      squares += a * a + b * b;
    }
  }
  return squares == 0 ? 0 : std::max(0.0, 1 - 2 * product / squares);
}

}  // namespace

double of_bound(double result, double reference, double allowed) {
  const double error = distance(result, reference);
  return error == 0 ? 0 : std::isinf(allowed) || std::isnan(allowed) ? kInfinity : error / allowed;
}

void Distribution::add(double value) {
  const double known = std::isnan(value) ? kInfinity : value;
  max_ = std::max(max_, known);
  sum_ += known;
  ++total_;
  ++counts_[std::bit_cast<uint32_t>(static_cast<float>(known)) >> 15];
}

void Distribution::merge(const Distribution& other) {
  for (size_t i = 0; i < kBuckets; ++i) {
    counts_[i] += other.counts_[i];
  }
  total_ += other.total_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

double Distribution::percentile(double fraction) const {
  const double rank = fraction * static_cast<double>(total_);
  double below = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    below += static_cast<double>(counts_[i]);
    if (counts_[i] > 0 && below >= rank) {
      return std::min<double>(max_, std::bit_cast<float>(static_cast<uint32_t>(i) << 15));
    }
  }
  return max_;
}

bool ErrorStatistics::ok() const { return repeats && bad_out == 0 && bad_lse == 0 && cosine_ok; }

std::string ErrorStatistics::text() const {
  return fmt::format(
      "out: max {:.2e} p99 {:.2e} mean {:.2e} cosine distance {:.2e}, {} of {} out of bound; lse: "
      "{:.3g} of the bound at most, {} of {} out. {}",
      out_error.max(), out_error.percentile(0.99), out_error.mean(), cosine, bad_out,
      out_error.count(), lse_of_bound.max(), bad_lse, lse_of_bound.count(), worst);
}

void ErrorStatistics::merge(const ErrorStatistics& other) {
  out_error.merge(other.out_error);
  out_of_bound.merge(other.out_of_bound);
  lse_of_bound.merge(other.lse_of_bound);
  bad_out += other.bad_out;
  bad_lse += other.bad_lse;
  cosine = std::max(cosine, other.cosine);
  cosine_ok = cosine_ok && other.cosine_ok;
  repeats = repeats && other.repeats;
  if (worst.empty()) {
    worst = other.worst;
  }
}

template <typename T>
ErrorStatistics compare(const ResultsOf<T>& result, const ResultsOf<T>& reference,
                        const Allowed& allowed, const ResultShape& shape,
                        size_t fewest_for_cosine) {
  ErrorStatistics s;
  if (result.out.size() != reference.out.size() || result.lse.size() != reference.lse.size() ||
      allowed.out.size() != reference.out.size() || allowed.lse.size() != reference.lse.size()) {
    s.bad_out = 1;
    s.worst = "results and reference differ in size";
    return s;
  }
  for (size_t i = 0; i < reference.out.size(); ++i) {
    s.out_error.add(distance(result.out[i], reference.out[i]));
  }
  const auto d_v = static_cast<size_t>(shape.d_v);
  const auto allowed_out = [&](size_t i) {
    return allowed.out[i] +
           allowed.out_relative[i / d_v] * std::fabs(static_cast<double>(reference.out[i]));
  };
  double worst_ratio = 1;
  s.bad_out = count_bad(
      result.out, reference.out, allowed_out, [&](size_t i) { return place_in_out(i, shape); },
      &s.out_of_bound, &worst_ratio, &s.worst);
  s.bad_lse = count_bad(
      result.lse, reference.lse, [&](size_t i) { return allowed.lse[i]; },
      [&](size_t i) { return place_in_lse(i, shape); }, &s.lse_of_bound, &worst_ratio, &s.worst);
  if (result.out.size() >= fewest_for_cosine) {
    s.cosine = cosine_distance(result.out, reference.out);
    s.cosine_ok = s.cosine <= allowed.cosine;
  }
  if (s.worst.empty() && !s.cosine_ok) {
    s.worst = fmt::format("cosine distance {:.3g}, allowed {:.3g}", s.cosine, allowed.cosine);
  }
  return s;
}

template <typename T>
Allowed flash_mla_suite(const ResultsOf<T>& reference, const ResultShape& shape) {
  constexpr FlashMlaSuite kSuite;
  Allowed allowed;
  allowed.out.assign(reference.out.size(), kSuite.out_absolute);
  const size_t rows = reference.out.size() / static_cast<size_t>(shape.d_v) + 1;  // or one less
  allowed.out_relative.assign(rows, kSuite.out_relative);
  for (const T lse : reference.lse) {
    const double magnitude = std::fabs(static_cast<double>(lse));
    allowed.lse.push_back(kSuite.lse_absolute + kSuite.lse_relative * magnitude);
  }
  allowed.cosine = kSuite.cosine;
  return allowed;
}

template ErrorStatistics compare(const ResultsOf<float>&, const ResultsOf<float>&, const Allowed&,
                                 const ResultShape&, size_t);
template ErrorStatistics compare(const ResultsOf<double>&, const ResultsOf<double>&, const Allowed&,
                                 const ResultShape&, size_t);
template Allowed flash_mla_suite(const ResultsOf<float>&, const ResultShape&);
template Allowed flash_mla_suite(const ResultsOf<double>&, const ResultShape&);

}  // namespace seesaw::lab
