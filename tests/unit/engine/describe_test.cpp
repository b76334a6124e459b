// The description: complete, in step with the structs, and the same text every time.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/operation.hpp"
#include "seesaw/ops/dense_decode.h"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

using Json = nlohmann::json;

TEST(Describe, IsTheSameTextEveryTime) {
  const std::string text = describe();
  EXPECT_EQ(text, describe());
  uint64_t needed = 0;
  char small[8];
  expect_refusal(SEESAW_INVALID_ARGUMENT, "size = 8", seesaw_describe(small, 8, &needed));
  EXPECT_EQ(needed, text.size() + 1);
  EXPECT_EQ(small[0], '\0');
  expect_refusal(SEESAW_INVALID_ARGUMENT, "needed = NULL", seesaw_describe(small, 8, nullptr));
}

TEST(Describe, HasEveryFieldArgumentAndKernel) {
  const Json all = Json::parse(describe());
  ASSERT_EQ(all["operations"].size(), operations().size());
  for (size_t i = 0; i < operations().size(); ++i) {
    const Operation& operation = *operations()[i];
    const Json& json = all["operations"][i];
    EXPECT_EQ(json["name"], operation.name);
    EXPECT_EQ(json["problem"].size(), operation.problem.size());
    EXPECT_EQ(json["args"].size(), operation.args.size());
    EXPECT_EQ(json["kernels"].size(), operation.kernels.size());
  }
  const Json& decode = all["operations"][0];
  EXPECT_EQ(decode["problem_bytes"], sizeof(seesaw_dense_decode_problem));
  EXPECT_EQ(decode["args_bytes"], sizeof(seesaw_dense_decode_args));
  EXPECT_EQ(all["options_bytes"], sizeof(seesaw_options));
}

// What the engine relies on in every operation's tables.
TEST(Tables, AreSound) {
  size_t kernels = 0;
  std::set<std::string> names;
  for (const Operation* operation : operations()) {
    SCOPED_TRACE(operation->name);
    EXPECT_LE(operation->problem_bytes, kMaxProblemBytes);
    std::set<std::string> fields;
    for (const Field& field : operation->problem) {
      SCOPED_TRACE(field.name);
      EXPECT_TRUE(fields.insert(field.name).second);
      EXPECT_TRUE(is_number(field));
      EXPECT_LE(field.offset + size_of(field.type), operation->problem_bytes);
      EXPECT_EQ(has_choices(field), !field.choices.empty());
      EXPECT_LE(field.least, field.most);
      EXPECT_NE(*field.help, '\0');
    }
    for (const Arg& arg : operation->args) {
      SCOPED_TRACE(arg.name);
      EXPECT_LT(arg.offset, operation->args_bytes);
      const std::set<std::string> dtypes = {"float32", "bfloat16", "float16",
                                            "int32",   "int64",    "uint8"};
      EXPECT_TRUE(dtypes.count(arg.dtype) + fields.count(arg.dtype) > 0);
      EXPECT_TRUE(*arg.list == '\0' || fields.count(arg.list) > 0);
      EXPECT_TRUE(*arg.other.field == '\0' || fields.count(arg.other.field) > 0);
    }
    for (const Kernel& kernel : operation->kernels) {
      EXPECT_TRUE(names.insert(kernel.name).second) << kernel.name;
      ++kernels;
    }
    ASSERT_FALSE(operation->kernels.empty());
    EXPECT_EQ(operation->kernels.back().name, "reference." + std::string(operation->name));
  }
  EXPECT_LE(kernels, kMaxKernels);
}

}  // namespace
}  // namespace seesaw::testing
