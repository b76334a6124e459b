// Every rung's own source, run on the CPU by the emulator: what its threads compute, and what they
// may see of each other, is checked without a GPU. Times and alignment faults are not.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ladder/inputs.hpp"
#include "ladder/rung_03_four_steps.hpp"
#include "simt.hpp"

namespace seesaw::ladder {
namespace {

using emulator::Order;
using emulator::Timing;

using Prepare = Status (*)(const Problem&, Launcher*);

struct NamedRung {
  const char* name;
  Prepare prepare;
};

Deviation run(HostProblem& host, Prepare prepare) {
  const Problem problem = host.view();
  Launcher launcher;
  const Status prepared = prepare(problem, &launcher);
  EXPECT_TRUE(prepared.ok()) << prepared.message();
  const Status launched = launcher(nullptr);
  EXPECT_TRUE(launched.ok()) << launched.message();
  const std::vector<int64_t> rows = rows_to_check(problem, 1 << 20);
  return compare_rows(host.out, rows, reference_rows(problem, rows));
}

class EmulatedRung : public testing::TestWithParam<NamedRung> {
 protected:
  void expect_correct(const ProblemSpec& spec) {
    HostProblem host(spec);
    const Deviation deviation = run(host, GetParam().prepare);
    EXPECT_TRUE(deviation.ok()) << deviation.max_error_over_bound << " of the bound";
  }
};

TEST_P(EmulatedRung, LengthsAroundATile) {
  expect_correct({.heads = 20, .seq_lens = {1, 63, 64, 65, 130}});
}

TEST_P(EmulatedRung, ManyTilesAndHeads) {
  expect_correct({.heads = 80, .seq_lens = {517}, .seed = 7});
}

// Scores of several hundred: the maximum has to be subtracted, and it moves from tile to tile.
TEST_P(EmulatedRung, LargeScores) {
  expect_correct({.heads = 16, .seq_lens = {300}, .scale = 60.0F * ProblemSpec::kModelScale});
}

// What a GPU leaves open must not matter: threads the other way round, copies and products late.
TEST_P(EmulatedRung, AnyOrderAndTiming) {
  for (const Order order : {Order::kForward, Order::kBackward}) {
    for (const Timing timing : {Timing::kEager, Timing::kLazy, Timing::kLateProducts}) {
      const emulator::UnderConditions here({order, timing});
      SCOPED_TRACE(testing::Message() << (order == Order::kForward ? "forward" : "backward")
                                      << ", timing " << static_cast<int>(timing));
      expect_correct({.heads = 24, .seq_lens = {200, 450}, .seed = 3});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ladder, EmulatedRung,
    testing::Values(NamedRung{"BlockPerOutput", prepare_rung_01},
                    NamedRung{"SharedMemory", prepare_rung_02},
                    NamedRung{"FourSteps", prepare_rung_03}, NamedRung{"Tiles", prepare_rung_04},
                    NamedRung{"WarpShuffles", prepare_rung_05},
                    NamedRung{"MmaSync", prepare_rung_06},
                    NamedRung{"PagedLatent", prepare_rung_07}, NamedRung{"Tma", prepare_rung_08},
                    NamedRung{"Wgmma", prepare_rung_09}, NamedRung{"Seesaw", prepare_rung_10}),
    [](const auto& rung) { return rung.param.name; });

// Rung 3's block sizes are parameters.
TEST(FourStepsKernel, AnyBlockSizes) {
  for (const FourStepsSizes sizes :
       {FourStepsSizes{.block_rows = 1, .block_tokens = 32, .threads = 64},
        FourStepsSizes{.block_rows = 8, .block_tokens = 128, .threads = 256},
        FourStepsSizes{.block_rows = 5, .block_tokens = 33, .threads = 128}}) {
    HostProblem host({.heads = 12, .seq_lens = {70, 129}});
    const Problem problem = host.view();
    Launcher launcher;
    ASSERT_TRUE(prepare_rung_03_with(problem, sizes, &launcher).ok());
    ASSERT_TRUE(launcher(nullptr).ok());
    const std::vector<int64_t> rows = rows_to_check(problem, 1 << 20);
    EXPECT_TRUE(compare_rows(host.out, rows, reference_rows(problem, rows)).ok());
  }
}

}  // namespace
}  // namespace seesaw::ladder
