// Limits of kernels, as their tables have them: which problems they let through, and what they say.
#include "engine/limits.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "ops/dense_decode/operation.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::engine {
namespace {

constexpr Limit kLimits[] = {{.field = "q_dtype", .values = {SEESAW_BFLOAT16}},
                             {.field = "d_qk", .values = {576, 512}},
                             {.field = "page_size", .multiple_of = 64}};

std::string reason_of(const seesaw_dense_decode_problem& problem) {
  Kernel kernel{};
  kernel.limits = kLimits;
  const Support support = within_limits(dense_decode::kOperation, kernel, &problem);
  EXPECT_EQ(support.supported, support.reason.empty());
  return support.reason;
}

TEST(Limits, EachFieldIsHeldToItsOwn) {
  seesaw_dense_decode_problem problem{.q_dtype = SEESAW_BFLOAT16, .d_qk = 512, .page_size = 128};
  EXPECT_EQ(reason_of(problem), "");
  problem.page_size = 96;
  EXPECT_EQ(reason_of(problem), "page_size = 96, needs a multiple of 64");
  problem.d_qk = 320;
  EXPECT_EQ(reason_of(problem), "d_qk = 320, needs 576 or 512");
  problem.q_dtype = SEESAW_FLOAT16;
  EXPECT_EQ(reason_of(problem), "q_dtype = float16, needs bfloat16");
}

TEST(Limits, NameFieldsOfTheirProblem) {
  for (const Operation* operation : operations()) {
    for (const Kernel& kernel : operation->kernels) {
      for (const Limit& limit : kernel.limits) {
        const auto known = [&](const Field& field) {
          return std::string_view(field.name) == limit.field && is_number(field);
        };
        EXPECT_TRUE(std::any_of(operation->problem.begin(), operation->problem.end(), known))
            << kernel.name << " " << limit.field;
      }
      EXPECT_STRNE(kernel.hardware, "");
    }
  }
}

}  // namespace
}  // namespace seesaw::engine
