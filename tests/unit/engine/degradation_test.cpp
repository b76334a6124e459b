// What serves when a kernel cannot: kernels are disabled one by one by SEESAW_DISABLE, and the next
// in order has to give right results, until none is left. docs/degradation.md.
#include <cstdlib>
#include <optional>

#include "engine/disabled.hpp"
#include "support/decode_run.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

// SEESAW_DISABLE for a scope.
class Disabled {
 public:
  explicit Disabled(const std::string& list) {
    if (const char* before = std::getenv(kName)) {
      before_ = before;
    }
    setenv(kName, list.c_str(), 1);
  }
  ~Disabled() {
    if (before_) {
      setenv(kName, before_->c_str(), 1);
    } else {
      unsetenv(kName);
    }
  }
  Disabled(const Disabled&) = delete;
  Disabled& operator=(const Disabled&) = delete;

 private:
  static constexpr const char* kName = "SEESAW_DISABLE";
  std::optional<std::string> before_;
};

// Sequences that are split and that are empty, two query tokens under the mask.
DecodeCase some_case() {
  return DecodeCase({.seq_lens = {700, 0, 65, 1}, .s_q = 2, .h_q = 5, .causal = 1});
}

constexpr seesaw_options kThreads{.num_threads = 3};

std::vector<std::string> able_kernels() {
  std::vector<std::string> names;
  for (const KernelSupport& answer : DenseDecode::supports(some_case().problem(), kThreads)) {
    if (answer.supported) {
      names.push_back(answer.kernel);
    }
  }
  return names;
}

std::string joined(const std::vector<std::string>& names, size_t count) {
  std::string list;
  for (size_t i = 0; i < count; ++i) {
    list += (i > 0 ? "," : "") + names[i];
  }
  return list;
}

TEST(Degradation, TheNextKernelServesAndIsRight) {
  const DecodeCase test_case = some_case();
  const std::vector<std::string> able = able_kernels();
  ASSERT_GE(able.size(), 2U);
  for (size_t disabled = 0; disabled < able.size(); ++disabled) {
    SCOPED_TRACE(able[disabled]);
    const Disabled environment(joined(able, disabled));
    EXPECT_EQ(DenseDecode(test_case.problem(), kThreads).kernel(), able[disabled]);
    expect_contract(test_case, {.threads = 3});
  }
}

TEST(Degradation, EachKernelAloneMayBeMissing) {
  const DecodeCase test_case = some_case();
  const std::vector<std::string> able = able_kernels();
  for (size_t missing = 0; missing < able.size(); ++missing) {
    SCOPED_TRACE(able[missing]);
    const Disabled environment(able[missing]);
    EXPECT_EQ(DenseDecode(test_case.problem(), kThreads).kernel(), able[missing == 0 ? 1 : 0]);
    expect_contract(test_case, {.threads = 3});
    for (const KernelSupport& answer : DenseDecode::supports(some_case().problem(), kThreads)) {
      if (answer.kernel == able[missing]) {
        EXPECT_FALSE(answer.supported);
        EXPECT_EQ(answer.reason, "disabled by \"" + able[missing] +
                                     "\" in the environment variable SEESAW_DISABLE");
      }
    }
  }
}

TEST(Degradation, WithoutAnyKernelTheRefusalNamesThemAll) {
  const std::vector<std::string> able = able_kernels();
  const Disabled environment(joined(able, able.size()));
  EXPECT_TRUE(able_kernels().empty());
  const seesaw_dense_decode_problem asked = some_case().problem();
  seesaw_plan* plan = nullptr;
  for (const std::string& kernel : able) {
    expect_refusal(SEESAW_NOT_SUPPORTED, kernel + ": disabled by \"" + kernel + "\"",
                   seesaw_dense_decode_plan_create(&asked, &kThreads, &plan));
    EXPECT_EQ(plan, nullptr);
  }
}

TEST(Degradation, AKernelInsistedOnIsNotReplaced) {
  const seesaw_options insisting{.num_threads = 3, .kernel = "cpu.dense_decode"};
  const Disabled environment("cpu");
  const seesaw_dense_decode_problem asked = some_case().problem();
  seesaw_plan* plan = nullptr;
  expect_refusal(SEESAW_NOT_SUPPORTED, "the kernel insisted on cannot run",
                 seesaw_dense_decode_plan_create(&asked, &insisting, &plan));
}

TEST(Degradation, PlansKeepTheKernelTheyWereMadeWith) {
  const DenseDecode decode(some_case().problem(), kThreads);
  const std::string kernel = decode.kernel();
  const Disabled environment(kernel);
  EXPECT_EQ(decode.kernel(), kernel);
  EXPECT_NE(DenseDecode(some_case().problem(), kThreads).kernel(), kernel);
}

TEST(Degradation, EntriesAreNamesOrTheirFirstWords) {
  using engine::find_disabled;
  constexpr const char* kKernel = "sm90.dense_decode.bf16";
  EXPECT_EQ(find_disabled("sm90.dense_decode.bf16", kKernel), "sm90.dense_decode.bf16");
  EXPECT_EQ(find_disabled("cpu, sm90 ,reference", kKernel), "sm90");
  EXPECT_EQ(find_disabled("sm90.dense_decode", kKernel), "sm90.dense_decode");
  for (const char* other : {"", ",", " , ,", "sm9", "sm90.", "sm90.dense", "dense_decode", "SM90",
                            "sm90.dense_decode.bf16.x", "sm90.dense_decode.fp16", "cpu"}) {
    EXPECT_EQ(find_disabled(other, kKernel), "") << other;
  }
}

}  // namespace
}  // namespace seesaw::testing
