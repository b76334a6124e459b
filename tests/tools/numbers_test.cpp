// Types by name, and elements of every type.
#include "numbers.hpp"

#include <gtest/gtest.h>

#include "error.hpp"

namespace seesaw::tools {
namespace {

// How 16-bit formats round is tested with src/base/float16.hpp, which does it.
TEST(Numbers, ElementsLieSideBySide) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    std::vector<unsigned char> values(3 * size_of(dtype), kPoison);
    store_element(values.data(), dtype, 1, 1 + 1.0F / 256);
    store_element(values.data(), dtype, 0, -0.5F);
    EXPECT_EQ(load_element(values.data(), dtype, 0), -0.5F);
    const float second = load_element(values.data(), dtype, 1);
    EXPECT_EQ(second, dtype == SEESAW_BFLOAT16 ? 1 : 1 + 1.0F / 256);  // a tie, to even
    const float third = load_element(values.data(), dtype, 2);
    EXPECT_NE(third, third) << "poison is a NaN of " << contract_name(dtype);
  }
}

TEST(Numbers, ReadsNamesOfTypes) {
  EXPECT_EQ(parse_dtype("bf16", "--dtype"), SEESAW_BFLOAT16);
  EXPECT_EQ(parse_dtype("float32", "--dtype"), SEESAW_FLOAT32);
  EXPECT_THROW(parse_dtype("int8", "--dtype"), Failure);
  EXPECT_THROW(parse_dtype("int32", "--dtype"), Failure);
}

}  // namespace
}  // namespace seesaw::tools
