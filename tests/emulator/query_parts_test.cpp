// Queries in two parts, on every core for GPUs: the same bits as of one tensor that holds both.
#include <gtest/gtest.h>

#include <stdexcept>

#include "dense_decode.hpp"
#include "support/query_parts.hpp"

namespace seesaw::emulator {
namespace {

using testing::kMemoriesOfParts;
using testing::QueryParts;

class DenseDecodeParts : public OnAnyCore {
 protected:
  static void expect_same_bits(const lab::DecodeSpec& spec, const Shares& shares = {},
                               int64_t d_rope = 64) {
    const lab::DecodeCase test_case(spec);
    DecodeCall one(test_case, shares);
    ASSERT_EQ(one.run(), "") << lab::describe(spec);
    for (const QueryParts::Memory memory : kMemoriesOfParts) {
      const QueryParts parts(test_case.inputs().q, d_rope, memory);
      DecodeCall call(parts.problem(test_case.problem()), parts.args(test_case.inputs()), shares,
                      spec.gaps);
      ASSERT_EQ(call.run(), "") << lab::describe(spec);
      EXPECT_EQ(call.results().out, one.results().out)
          << lab::describe(spec) << " memory " << static_cast<int>(memory);
      EXPECT_EQ(call.results().lse, one.results().lse) << lab::describe(spec);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Emulated, DenseDecodeParts, kAnyCore, kNameOfCore);

TEST_P(DenseDecodeParts, OfAnyType) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    expect_same_bits({.seq_lens = {130, 70},
                      .s_q = 2,
                      .h_q = 16,
                      .q_dtype = dtype,
                      .kv_dtype = dtype,
                      .causal = 1},
                     {.num_workers = 3});
  }
}

// Heads that fill no box, rows that start on any element, and a factor of the queries.
TEST_P(DenseDecodeParts, CopiedRowByRow) {
  expect_same_bits({.seq_lens = {70, 33}, .h_q = 9, .gaps = {.q = 8}}, {.num_workers = 2});
  expect_same_bits({.seq_lens = {70, 33}, .h_q = 6, .gaps = {.q = 3}}, {.num_workers = 2});
  expect_same_bits({.seq_lens = {70}, .h_q = 16, .scale = -1e-30F});
}

// Scores so large that rows are computed anew.
TEST_P(DenseDecodeParts, ComputedAnew) {
  expect_same_bits({.seq_lens = {70, 130}, .h_q = 4, .query_magnitude = 1e12F}, {.num_workers = 2});
}

TEST(DenseDecodeWidthsOfParts, OfTheWidthsThatACoreHas) {
  const lab::DecodeCase test_case({.seq_lens = {70}, .h_q = 4});
  const auto results = [&](Core core, const seesaw_dense_decode_problem& problem,
                           const seesaw_dense_decode_args& inputs) {
    DecodeCall call(problem, inputs, {.core = core});
    EXPECT_EQ(call.run(), "");
    return call.results().out;
  };
  for (const int64_t d_rope : {64, 320, 5}) {
    for (const Core core : {Core::kRows, Core::kSm80, Core::kSm90}) {
      const QueryParts parts(test_case.inputs().q, d_rope, QueryParts::Memory::kOwn);
      const auto in_parts = [&] {
        return results(core, parts.problem(test_case.problem()), parts.args(test_case.inputs()));
      };
      const bool supported =
          core == Core::kSm80 || d_rope == 64 || (core == Core::kRows && d_rope % 64 == 0);
      if (supported) {
        EXPECT_EQ(in_parts(), results(core, test_case.problem(), test_case.inputs())) << d_rope;
      } else {
        EXPECT_THROW(in_parts(), std::invalid_argument) << d_rope;
      }
    }
  }
}

}  // namespace
}  // namespace seesaw::emulator
