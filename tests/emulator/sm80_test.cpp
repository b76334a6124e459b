// sm80.dense_decode with the device planner and the combine, against the double reference.
#include <gtest/gtest.h>

#include "any_conditions.hpp"
#include "dense_decode.hpp"

namespace seesaw::emulator {
namespace {

void expect_contract(const lab::DecodeSpec& spec, Shares shares = {}) {
  shares.core = Core::kSm80;
  const lab::DecodeCase test_case(spec);
  DecodeCall call(test_case, shares);
  ASSERT_EQ(call.run(), "") << lab::describe(spec);
  EXPECT_EQ(call.verdict(), "") << lab::describe(spec);
}

class Sm80 : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm80, ::testing::ValuesIn(kAnyConditions), kNameOfConditions);

TEST_P(Sm80, LengthsAroundATile) {
  expect_contract({.seq_lens = {1, 31, 32, 33, 65, 130}, .h_q = 16});
}

}  // namespace
}  // namespace seesaw::emulator
