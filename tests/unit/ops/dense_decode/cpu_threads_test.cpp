// How many threads cpu.dense_decode runs on, and that it does not matter to the results.
#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>

#include "attention/cpu/job.hpp"
#include "support/host_call.hpp"

namespace seesaw::testing {
namespace {

// The program's own setting, for a scope.
class ProgramThreads {
 public:
  explicit ProgramThreads(int threads) { omp_set_num_threads(threads); }
  ~ProgramThreads() { omp_set_num_threads(before_); }
  ProgramThreads(const ProgramThreads&) = delete;
  ProgramThreads& operator=(const ProgramThreads&) = delete;

 private:
  int before_ = omp_get_max_threads();
};

TEST(CpuThreads, FollowTheProgramUnlessTheCallerNamedANumber) {
  attention::Plan plan;
  plan.split.num_workers = 8;
  plan.options.follow_threads = true;
  {
    const ProgramThreads fewer(3);
    EXPECT_EQ(attention::cpu::threads_of(plan), 3);
  }
  const ProgramThreads more(20);
  EXPECT_EQ(attention::cpu::threads_of(plan), 8);
  plan.options.follow_threads = false;
  const ProgramThreads fewer(3);
  EXPECT_EQ(attention::cpu::threads_of(plan), 8);
}

TEST(CpuThreads, FewerThanPlannedGiveTheSameBits) {
  const DecodeCase test_case({.seq_lens = {700, 65, 130}, .s_q = 2, .h_q = 9, .causal = 1});
  const ProgramThreads planned(4);
  const seesaw_options asked = test_case.options("cpu.dense_decode", 0);
  const HostCall first(test_case, asked), second(test_case, asked);
  ASSERT_EQ(second.decode.number("num_workers"), 4);
  first.prepare();
  first.run();
  second.prepare();
  const ProgramThreads fewer(1);
  second.run();
  ASSERT_EQ(first.out.size(), second.out.size());
  EXPECT_EQ(std::memcmp(first.out.data(), second.out.data(), first.out.size()), 0);
}

}  // namespace
}  // namespace seesaw::testing
