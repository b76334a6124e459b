// Every barrier of sm90.dense_decode is needed: without it some case gives wrong results or never
// ends, whatever else is right. So each line of the tables in src/ops/dense_decode/sm90/README.md
// is ignored in turn. A barrier that the tests do not list fails them.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "missing_waits.hpp"
#include "ops/dense_decode/sm90/smem.cuh"

namespace seesaw::emulator {
namespace {

namespace sm90 = dense_decode::sm90;

using Config = sm90::DenseDecodeConfig<__nv_bfloat16, 576>;
using Storage = sm90::SharedStorage<Config>;

WaitCases cases() {
  WaitCases all;
  // Pieces of many lengths and none; rows that see different tokens; queries by TMA, or row by row.
  // NaN that only the last query token sees, in an odd tile and in an even one: its value may be
  // cleaned only when all scores are done.
  for (const int64_t h_q : {16, 12}) {
    lab::DecodeCase& inputs =
        all.add({.seq_lens = {330, 0, 200, 64, 129}, .s_q = 4, .h_q = h_q, .causal = 1}, {});
    inputs.set_key(0, 329, 0, 300, NAN);
    inputs.set_key(4, 128, 0, 300, NAN);
  }
  // The frame moves from tile to tile; several workers, and so the combine.
  all.add({.seq_lens = {400, 257}, .h_q = 16, .query_magnitude = 40.0F}, {.num_workers = 2});
  return all;
}

bool shows(const Ignored& ignored) { return emulator::shows(cases, ignored); }

TEST(MissingWaits, NothingIsMissing) { EXPECT_EQ(cases().shown({}), ""); }

// ---- named barriers

constexpr const char* kBarrierNames[] = {"SyncThreads", "Frame0Ready", "Frame1Ready",
                                         "P0Stored",    "P1Stored",    "SumsReady",
                                         "LeftScrub",   "RightScrub",  "BarriersReady"};
static_assert(std::size(kBarrierNames) == sm90::kNamedBarrierCount);

class MissingBarrier : public ::testing::TestWithParam<int> {};
TEST_P(MissingBarrier, Shows) {
  EXPECT_TRUE(
      shows({.what = Ignored::What::kNamedBarrier, .which = static_cast<uint32_t>(GetParam())}));
}
INSTANTIATE_TEST_SUITE_P(Emulated, MissingBarrier,
                         ::testing::Range(1, static_cast<int>(sm90::kNamedBarrierCount)),
                         [](const auto& test) { return kBarrierNames[test.param]; });

// A scrub meets its barrier twice: before it writes, and after.
class MissingScrub : public ::testing::TestWithParam<sm90::NamedBarrier> {
 protected:
  static Ignored without(Ignored::Turns turns) {
    return {.what = Ignored::What::kNamedBarrier,
            .which = static_cast<uint32_t>(GetParam()),
            .turns = turns};
  }
};
TEST_P(MissingScrub, BeforeShows) { EXPECT_TRUE(shows(without(Ignored::Turns::kEven))); }
// Right's next barrier does the same: all of right waits for kFrame0Ready before it multiplies.
TEST_P(MissingScrub, AfterShowsOnTheLeft) {
  EXPECT_EQ(shows(without(Ignored::Turns::kOdd)), GetParam() == sm90::kLeftScrub);
}
INSTANTIATE_TEST_SUITE_P(Emulated, MissingScrub,
                         ::testing::Values(sm90::kLeftScrub, sm90::kRightScrub),
                         [](const auto& test) { return kBarrierNames[test.param]; });

// ---- mbarriers: who waits for which

constexpr unsigned kRight = sm90::kWarpgroupThreads;
constexpr unsigned kLoaders = 2 * sm90::kWarpgroupThreads;
constexpr size_t kFirstMbarrier = offsetof(Storage, q_full);
constexpr size_t kMbarriers =
    (offsetof(Storage, kv_empty) + sizeof(Storage::kv_empty) - kFirstMbarrier) / sizeof(uint64_t);

std::vector<Wait> all_waits() {
  std::vector<Wait> waits;
  const auto add = [&](const std::string& name, size_t first, size_t index, unsigned begin,
                       unsigned end) {
    waits.push_back({name, first + index * sizeof(uint64_t), begin, end});
  };
  for (size_t part = 0; part < 2; ++part) {
    const std::string of = std::to_string(part);
    add("QFull" + of + "Left", offsetof(Storage, q_full), part, 0, kRight);
    add("QFull" + of + "Right", offsetof(Storage, q_full), part, kRight, kLoaders);
    add("QEmpty" + of, offsetof(Storage, q_empty), part, kLoaders, sm90::kThreads);
  }
  for (size_t buffer = 0; buffer < 2; ++buffer) {
    for (size_t copy = 0; copy < Config::kKvCopies; ++copy) {
      add("KvFull" + std::to_string(buffer) + std::to_string(copy), offsetof(Storage, kv_full),
          buffer * Config::kKvCopies + copy, 0, kLoaders);
    }
    for (size_t half = 0; half < 2; ++half) {
      add("KvEmpty" + std::to_string(buffer) + std::to_string(half), offsetof(Storage, kv_empty),
          buffer * 2 + half, kLoaders, sm90::kThreads);
    }
  }
  return waits;
}

class MissingWait : public ::testing::TestWithParam<Wait> {};
TEST_P(MissingWait, Shows) { EXPECT_TRUE(shows(GetParam().ignored())); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWait, ::testing::ValuesIn(all_waits()),
                         [](const auto& test) { return test.param.name; });

TEST(MissingWaits, EveryMbarrierIsListed) {
  EXPECT_EQ(listed_mbarriers(all_waits(), kFirstMbarrier, kMbarriers),
            std::vector<bool>(kMbarriers, true));
}

// ---- waits without a barrier

TEST(MissingWaits, OfCopiesByThreadsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kCopyWaits}));
}
TEST(MissingWaits, OfProductsShow) { EXPECT_TRUE(shows({.what = Ignored::What::kProductWaits})); }
TEST(MissingWaits, OfGridsShow) { EXPECT_TRUE(shows({.what = Ignored::What::kGridWaits})); }
TEST(MissingWaits, FencesOfWritesShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProxyFences}));
}

}  // namespace
}  // namespace seesaw::emulator
