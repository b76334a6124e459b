// What the tests of refusals share.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "seesaw/baselines.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {

inline void expect_refused(seesaw_status expected, const std::string& words, seesaw_status got) {
  const std::string message = seesaw_baselines_last_error();
  ASSERT_EQ(got, expected) << message;
  EXPECT_TRUE(has_four_parts(message));
  EXPECT_NE(message.find(words), std::string::npos)
      << "message: " << message << "\nshould mention: " << words;
}

// What is wrong by the words of its message: a dtype, or a value.
inline seesaw_status kind_of(const std::string& words) {
  return words.find("dtype") == std::string::npos ? SEESAW_INVALID_ARGUMENT : SEESAW_INVALID_TYPE;
}

inline seesaw_baseline_problem good_problem(seesaw_baseline_model model = SEESAW_BASELINE_MHA) {
  BaselineDescriptor d{.model = model, .batch = 2, .tokens = 3};
  d.d_model = 8;
  d.num_heads = 2;
  d.cache_capacity = 5;
  return d.to_c();
}

}  // namespace seesaw::testing
