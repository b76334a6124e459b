#include "support/decode_run.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "lab/accuracy.hpp"
#include "lab/elements.hpp"
#include "support/exact.hpp"
#include "support/host_call.hpp"
#include "support/strided.hpp"

namespace seesaw::testing {
namespace {

constexpr float kSuiteMagnitude = 10;     // of queries: a deviation of 1
constexpr size_t kCosineElements = 1000;  // of fewer, it is only a bound on one or two elements

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
    return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y) ||
           (std::isnan(x) && std::isnan(y));
  });
}

// The elements of an output, and whether the gaps between them still hold poison.
std::vector<double> gather(const seesaw_tensor& tensor, const GuardedBuffer& buffer,
                           bool* gaps_intact) {
  std::vector<double> values;
  for (const int64_t place : places_of(tensor)) {
    values.push_back(lab::load_element(buffer.data(), tensor.dtype, static_cast<size_t>(place)));
  }
  const auto size = static_cast<int64_t>(lab::size_of(tensor.dtype));
  for (const int64_t gap : gaps_of(tensor)) {
    for (int64_t byte = gap * size; byte < (gap + 1) * size; ++byte) {
      *gaps_intact = *gaps_intact && buffer.data()[byte] == GuardedBuffer::kPoisonByte;
    }
  }
  return values;
}

}  // namespace

bool DecodeResults::operator==(const DecodeResults& other) const {
  return same_bits(out, other.out) && same_bits(lse, other.lse) &&
         same_bits(max_logits, other.max_logits);
}

DecodeResults run_case(const DecodeCase& test_case, const RunOptions& options) {
  const DecodeSpec& spec = test_case.spec();
  HostCall call(test_case, test_case.options(options.kernel.c_str(), options.threads),
                options.parts);
  if (!options.want_lse) {
    call.args.lse = {};
  }
  call.prepare();
  call.run();

  bool gaps_intact = true;
  DecodeResults results;
  const seesaw_tensor numbers = test_case.lse_tensor(nullptr);
  results.out = gather(call.args.out, call.out, &gaps_intact);
  results.lse = gather(numbers, call.lse, &gaps_intact);
  if (spec.max_logits) {
    results.max_logits = gather(numbers, call.max_logits, &gaps_intact);
  }
  EXPECT_TRUE(gaps_intact) << "gaps between rows were written: " << describe(spec);
  EXPECT_TRUE(call.out.intact() && call.lse.intact() && call.max_logits.intact() &&
              call.workspace.intact() && call.schedule.intact())
      << "memory next to a buffer was written: " << describe(spec);
  return results;
}

DecodeResults exact_results(const DecodeCase& test_case) {
  const DecodeSpec& spec = test_case.spec();
  const auto rows = static_cast<size_t>(spec.total_queries() * spec.h_q);
  DecodeResults results;
  results.max_logits.resize(spec.max_logits ? rows : 0);
  results.out.resize(rows * static_cast<size_t>(spec.d_v));
  results.lse.resize(rows);
  exact_dense_decode(test_case.problem(), test_case.inputs(), results.out.data(),
                     results.lse.data(), spec.max_logits ? results.max_logits.data() : nullptr);
  return results;
}

lab::ErrorStatistics errors_of(const DecodeCase& test_case, const DecodeResults& results,
                               const DecodeResults& exact) {
  const DecodeSpec& spec = test_case.spec();
  return lab::compare<double>({results.out, results.lse}, {exact.out, exact.lse},
                              lab::allowed_errors(test_case.problem(), test_case.inputs()),
                              {spec.s_q, spec.h_q, spec.d_v});
}

void expect_contract(const DecodeCase& test_case, const RunOptions& options) {
  const DecodeSpec& spec = test_case.spec();
  const DecodeResults results = run_case(test_case, options);
  const DecodeResults exact = exact_results(test_case);
  const lab::ErrorStatistics errors = errors_of(test_case, results, exact);
  EXPECT_TRUE(errors.ok()) << describe(spec) << "\n" << errors.text();
  if (spec.values == lab::Values::kSuite && spec.query_magnitude <= kSuiteMagnitude) {
    const lab::ResultsOf<double> reference{exact.out, exact.lse};
    const lab::ResultShape shape{spec.s_q, spec.h_q, spec.d_v};
    const lab::ErrorStatistics suite =
        lab::compare<double>({results.out, results.lse}, reference,
                             lab::flash_mla_suite(reference, shape), shape, kCosineElements);
    EXPECT_TRUE(suite.ok()) << "FlashMLA's suite: " << describe(spec) << "\n" << suite.text();
  }
}

}  // namespace seesaw::testing
