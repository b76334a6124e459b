// sm90.dense_decode with the device planner and the combine, against the double reference.
#include "dense_decode.hpp"

#include <gtest/gtest.h>

#include "simt.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeSpec& spec, const Shares& shares) {
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(spec);
  EXPECT_EQ(call.verdict(), "") << lab::describe(spec);
}

TEST(DenseDecode, OneTile) { expect_contract({.seq_lens = {64}, .h_q = 64}, {}); }
TEST(DenseDecode, ThreeTiles) { expect_contract({.seq_lens = {150}, .h_q = 16}, {}); }
TEST(DenseDecode, Split) {
  expect_contract({.seq_lens = {300, 70}, .h_q = 16}, {.num_workers = 3});
}

}  // namespace
}  // namespace seesaw::emulator
