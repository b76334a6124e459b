// Which microkernel a machine gets.
#include "cpu/select.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "cpu/amx.hpp"

namespace seesaw::cpu {
namespace {

// Sets SEESAW_CPU_TARGET for a scope.
class Wanted {
 public:
  explicit Wanted(const char* value) {
    const char* before = std::getenv(kName);
    before_ = before == nullptr ? "" : before;  // empty is the same as not set
    setenv(kName, value, 1);
  }
  ~Wanted() { setenv(kName, before_.c_str(), 1); }

 private:
  static constexpr const char* kName = "SEESAW_CPU_TARGET";
  std::string before_;
};

// Rates as they were measured: a Zen 5, a Sapphire Rapids.
TEST(Select, DotProductsOnlyWhereTheyAreFaster) {
  EXPECT_EQ(faster_target(117, 234).target, Target::kAvx512Bf16);
  EXPECT_EQ(faster_target(82, 43).target, Target::kAvx512);
  EXPECT_EQ(faster_target(100, 100).target, Target::kAvx512Bf16);
  EXPECT_NE(faster_target(82, 43).reason.find("0.52 times"), std::string::npos);
}

TEST(Select, ANameIsTheBestThatMayBeUsed) {
  for (size_t i = 0; i < std::size(kTargetNames); ++i) {
    const Wanted wanted(std::string(kTargetNames[i]).c_str());
    const auto choice = choose_target();
    ASSERT_TRUE(choice.has_value());
    EXPECT_LE(static_cast<size_t>(choice->target), i);
    EXPECT_NE(choice->reason.find(kTargetNames[i]), std::string::npos);
  }
  const Wanted wanted("mmx");
  EXPECT_FALSE(choose_target().has_value());
}

TEST(Select, TheEmulationServesAnyCpuButOnlyByName) {
  {
    const Wanted wanted("");
    EXPECT_NE(choose_target()->target, Target::kEmulatedAmx);
  }
  const Wanted wanted("emulated-amx");
  const Target target = choose_target()->target;
  EXPECT_EQ(&choose_microkernel(DType::kBFloat16, DType::kBFloat16, target),
            &emulated_amx_microkernel());
  // Other dtypes are no matter of tiles.
  EXPECT_EQ(&choose_microkernel(DType::kFloat16, DType::kFloat16, target),
            &float_microkernel(best_target(Target::kAvx512)));
}

TEST(Select, TheChoiceIsTheSameEveryTime) {
  const Wanted wanted("");
  const std::string first = microkernel_description();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(microkernel_description(), first);
  }
}

TEST(Select, AmxServesWhereItIsGranted) {
  if (ask_for_amx() != AmxAnswer::kGranted) {
    GTEST_SKIP() << "this machine has no AMX, or the operating system refused it";
  }
  const Wanted wanted("");
  EXPECT_EQ(choose_target()->target, Target::kAmx);
}

}  // namespace
}  // namespace seesaw::cpu
