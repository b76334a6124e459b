#include "support/decode_run.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/float16.hpp"
#include "support/exact.hpp"
#include "support/host_call.hpp"

namespace seesaw::testing {
namespace {

// The contract's bounds (docs/contract.md).
constexpr double kOutAbsolute = 8e-4;
constexpr double kOutRelative = 2.0 / 128;
constexpr double kLseAbsolute = 1e-6;
constexpr double kLseRelative = 8.0 / 65536;
constexpr double kCosineDistance = 5e-6;
constexpr size_t kCosineElements = 1000;  // of fewer, it is only a bound on one or two elements

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
    return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y) ||
           (std::isnan(x) && std::isnan(y));
  });
}

template <typename T>
double widen(const unsigned char* data, size_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return static_cast<double>(to_float(value));
}

double load(int32_t dtype, const unsigned char* data, size_t index) {
  switch (dtype) {
    case SEESAW_BFLOAT16:
      return widen<BFloat16>(data, index);
    case SEESAW_FLOAT16:
      return widen<Float16>(data, index);
    default:
      return widen<float>(data, index);
  }
}

// Rows of `columns` elements at a distance of `pitch`: the elements, and whether the gaps between
// them still hold poison.
std::vector<double> gather_rows(int32_t dtype, const GuardedBuffer& buffer, int64_t columns,
                                int64_t pitch, bool* gaps_intact) {
  const int64_t size = dtype == SEESAW_FLOAT32 ? 4 : 2;
  const int64_t elements = static_cast<int64_t>(buffer.size()) / size;
  std::vector<double> values;
  values.reserve(static_cast<size_t>(pitch == 0 ? 0 : elements / pitch * columns));
  for (int64_t i = 0; i < elements; ++i) {
    if (i % pitch < columns) {
      values.push_back(load(dtype, buffer.data(), static_cast<size_t>(i)));
      continue;
    }
    for (int64_t byte = i * size; byte < (i + 1) * size; ++byte) {
      *gaps_intact = *gaps_intact && buffer.data()[byte] == GuardedBuffer::kPoisonByte;
    }
  }
  return values;
}

struct Bound {
  double absolute;
  double relative;
};

bool within(double value, double reference, const Bound& bound) {
  if (std::isnan(reference) || std::isinf(reference)) {
    return std::isnan(reference) ? std::isnan(value) : value == reference;
  }
  // Negated so that a NaN is outside.
  return !(std::abs(value - reference) > bound.absolute + bound.relative * std::abs(reference)) &&
         !std::isnan(value);
}

// Errors of one array; calls on_bad(index) for each element outside the bound.
template <typename OnBad>
std::vector<double> errors_of(const std::vector<double>& values,
                              const std::vector<double>& reference, const Bound& bound,
                              OnBad on_bad) {
  std::vector<double> errors(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!within(values[i], reference[i], bound)) {
      on_bad(i);
    }
    const double error = std::abs(values[i] - reference[i]);
    errors[i] = std::isfinite(error) ? error : 0.0;  // NaN and infinity are judged by on_bad alone
  }
  return errors;
}

double cosine_distance(const std::vector<double>& x, const std::vector<double>& y) {
  double product = 0.0;
  double squares = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i]) && std::isfinite(y[i])) {
      product += x[i] * y[i];
      squares += x[i] * x[i] + y[i] * y[i];
    }
  }
  return squares == 0.0 ? 0.0 : 1.0 - 2.0 * product / squares;
}

std::string place_of(const char* name, size_t index, const DecodeSpec& spec, double value,
                     double reference) {
  const auto i = static_cast<int64_t>(index);
  if (std::strcmp(name, "lse") == 0) {
    return fmt::format("lse[{}, {}, {}] = {}, reference {}", i / (spec.s_q * spec.h_q),
                       i / spec.s_q % spec.h_q, i % spec.s_q, value, reference);
  }
  const int64_t row = i / spec.d_v;
  return fmt::format("out[{}, {}, {}, {}] = {}, reference {}", row / (spec.s_q * spec.h_q),
                     row / spec.h_q % spec.s_q, row % spec.h_q, i % spec.d_v, value, reference);
}

}  // namespace

bool DecodeResults::operator==(const DecodeResults& other) const {
  return same_bits(out, other.out) && same_bits(lse, other.lse);
}

DecodeResults run_case(const DecodeCase& test_case, const RunOptions& options) {
  const DecodeSpec& spec = test_case.spec();
  HostCall call(test_case, test_case.options(options.kernel.c_str(), options.threads));
  if (!options.want_lse) {
    call.args.lse = {};
  }
  call.prepare();
  call.run();

  bool gaps_intact = true;
  DecodeResults results;
  results.out =
      gather_rows(spec.q_dtype, call.out, spec.d_v, spec.d_v + spec.gaps.out, &gaps_intact);
  results.lse =
      gather_rows(SEESAW_FLOAT32, call.lse, spec.s_q, spec.s_q + spec.gaps.lse, &gaps_intact);
  EXPECT_TRUE(gaps_intact) << "gaps between rows were written: " << describe(spec);
  EXPECT_TRUE(call.out.intact() && call.lse.intact() && call.workspace.intact() &&
              call.schedule.intact())
      << "memory next to a buffer was written: " << describe(spec);
  return results;
}

DecodeResults exact_results(const DecodeCase& test_case) {
  const DecodeSpec& spec = test_case.spec();
  const auto rows = static_cast<size_t>(spec.batch() * spec.s_q * spec.h_q);
  DecodeResults results;
  results.out.resize(rows * static_cast<size_t>(spec.d_v));
  results.lse.resize(rows);
  exact_dense_decode(test_case.problem(), test_case.inputs(), results.out.data(),
                     results.lse.data());
  return results;
}

bool ErrorSummary::within_contract() const {
  return bad_out == 0 && bad_lse == 0 && cosine_distance <= kCosineDistance;
}

std::string ErrorSummary::text() const {
  return fmt::format(
      "out: max {:.2e} p99 {:.2e} mean {:.2e} cosine distance {:.2e}, {} outside the bound; "
      "lse: max {:.2e}, {} outside. {}",
      max_out, p99_out, mean_out, cosine_distance, bad_out, max_lse, bad_lse, first_bad);
}

ErrorSummary measure(const DecodeSpec& spec, const DecodeResults& results,
                     const DecodeResults& reference) {
  ErrorSummary summary;
  const auto note = [&](const char* name, size_t i, double value, double expected) {
    if (summary.first_bad.empty()) {
      summary.first_bad = place_of(name, i, spec, value, expected);
    }
  };
  if (results.out.size() != reference.out.size() || results.lse.size() != reference.lse.size()) {
    summary.bad_out = 1;
    summary.first_bad = "results and reference differ in size";
    return summary;
  }
  std::vector<double> out_errors =
      errors_of(results.out, reference.out, {kOutAbsolute, kOutRelative}, [&](size_t i) {
        ++summary.bad_out;
        note("out", i, results.out[i], reference.out[i]);
      });
  const std::vector<double> lse_errors =
      errors_of(results.lse, reference.lse, {kLseAbsolute, kLseRelative}, [&](size_t i) {
        ++summary.bad_lse;
        note("lse", i, results.lse[i], reference.lse[i]);
      });
  if (results.out.size() >= kCosineElements) {
    summary.cosine_distance = cosine_distance(results.out, reference.out);
  }
  if (!out_errors.empty()) {
    std::sort(out_errors.begin(), out_errors.end());
    double sum = 0.0;
    for (const double error : out_errors) {
      sum += error;
    }
    summary.max_out = out_errors.back();
    summary.p99_out = out_errors[out_errors.size() * 99 / 100];
    summary.mean_out = sum / static_cast<double>(out_errors.size());
    summary.max_lse = *std::max_element(lse_errors.begin(), lse_errors.end());
  }
  return summary;
}

void expect_contract(const DecodeCase& test_case, const RunOptions& options) {
  const ErrorSummary errors =
      measure(test_case.spec(), run_case(test_case, options), exact_results(test_case));
  EXPECT_TRUE(errors.within_contract()) << describe(test_case.spec()) << "\n" << errors.text();
}

}  // namespace seesaw::testing
