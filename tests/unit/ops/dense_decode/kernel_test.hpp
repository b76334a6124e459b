// Tests that every dense-decoding kernel of the CPU must pass: instantiated by kernel name.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "support/decode_run.hpp"

namespace seesaw::testing {

// The parameter is the room's name: "reference" or "cpu".
class KernelTest : public ::testing::TestWithParam<const char*> {
 protected:
  // Three workers, so that sequences are split whatever the machine has.
  static RunOptions options(int32_t threads = 3) {
    return {.kernel = std::string(GetParam()) + ".dense_decode", .threads = threads};
  }

  static DecodeResults run(const DecodeSpec& spec, int32_t threads = 3) {
    return run_case(DecodeCase(spec), options(threads));
  }

  static void expect_contract(const DecodeSpec& spec, int32_t threads = 3) {
    testing::expect_contract(DecodeCase(spec), options(threads));
  }
};

// For INSTANTIATE_TEST_SUITE_P: names end in "/reference" or "/cpu".
inline auto every_kernel() { return ::testing::Values("reference", "cpu"); }
inline std::string kernel_name(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

}  // namespace seesaw::testing
