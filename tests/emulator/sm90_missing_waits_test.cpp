// The same as missing_waits_test.cpp for the attention kernel whose producers bring rows that lie
// anywhere: each line of the tables in src/attention/sm90/README.md is ignored in turn.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "attention/sm90/smem.cuh"
#include "missing_waits.hpp"

namespace seesaw::emulator {
namespace {

namespace sm90 = attention::sm90;

using Config = sm90::Config<__nv_bfloat16, 576, true>;
using Storage = sm90::SharedStorage<Config>;

WaitCases cases() {
  WaitCases all;
  const Shares rows = {.core = Core::kRows};
  // e4m3, of which scales come on a way of their own; pieces of many lengths and none.
  lab::DecodeSpec spec = {.seq_lens = {330, 0, 129}, .s_q = 2, .h_q = 12, .causal = 1};
  spec.page_size = 7;
  spec.kv_format = SEESAW_FORMAT_FP8_656;
  all.add(spec, rows);
  // The frame moves from tile to tile; several workers, and so the combine.
  all.add({.seq_lens = {500, 130}, .h_q = 16, .page_size = 3, .query_magnitude = 40.0F},
          {.num_workers = 2, .core = Core::kRows});
  return all;
}

bool shows(const Ignored& ignored) { return emulator::shows(cases, ignored); }

TEST(MissingWaitsOfRows, NothingIsMissing) { EXPECT_EQ(cases().shown({}), ""); }

constexpr const char* kBarrierNames[] = {"SyncThreads", "Frame0Ready", "Frame1Ready",
                                         "P0Stored",    "P1Stored",    "SumsReady",
                                         "LeftScrub",   "RightScrub",  "QueriesReady"};
static_assert(std::size(kBarrierNames) == sm90::kNamedBarrierCount);

class MissingBarrierOfRows : public ::testing::TestWithParam<int> {};
TEST_P(MissingBarrierOfRows, Shows) {
  EXPECT_TRUE(
      shows({.what = Ignored::What::kNamedBarrier, .which = static_cast<uint32_t>(GetParam())}));
}
// Not those of a scrub: rows of which it has changed a value are computed anew.
INSTANTIATE_TEST_SUITE_P(Emulated, MissingBarrierOfRows,
                         ::testing::Values(sm90::kFrame0Ready, sm90::kFrame1Ready, sm90::kP0Stored,
                                           sm90::kP1Stored, sm90::kSumsReady, sm90::kQueriesReady),
                         [](const auto& test) { return kBarrierNames[test.param]; });

constexpr size_t kFirstMbarrier = offsetof(Storage, kv_full);
constexpr size_t kMbarriers =
    (offsetof(Storage, kv_empty) + sizeof(Storage::kv_empty) - kFirstMbarrier) / sizeof(uint64_t);

std::vector<Wait> all_waits() {
  constexpr unsigned kProducers = sm90::kConsumerThreads;
  std::vector<Wait> waits;
  const auto add = [&](const std::string& name, size_t first, size_t count, unsigned begin,
                       unsigned end) {
    for (size_t i = 0; i < count; ++i) {
      waits.push_back({name + std::to_string(i), first + i * sizeof(uint64_t), begin, end});
    }
  };
  add("KvFull", offsetof(Storage, kv_full), 2 * Config::kKvCopies, 0, kProducers);
  add("KvEmpty", offsetof(Storage, kv_empty), 2 * 2, kProducers, sm90::kThreads);
  return waits;
}

// The emulator runs the first warp that can go on, or the last: some waits of the same kind as
// others are implied by those in either order, though not on a GPU.
std::vector<Wait> waits_that_show() {
  std::vector<Wait> waits = all_waits();
  std::erase_if(waits, [](const Wait& wait) {
    for (const char* implied :
         {"KvFull5", "KvEmpty3", "RowsFull3", "ScalesFull1", "ScalesFull2", "ScalesFull3"}) {
      if (wait.name == implied) return true;
    }
    return false;
  });
  return waits;
}

class MissingWaitOfRows : public ::testing::TestWithParam<Wait> {};
TEST_P(MissingWaitOfRows, Shows) { EXPECT_TRUE(shows(GetParam().ignored())); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWaitOfRows, ::testing::ValuesIn(waits_that_show()),
                         [](const auto& test) { return test.param.name; });

TEST(MissingWaitsOfRows, EveryMbarrierIsListed) {
  EXPECT_EQ(listed_mbarriers(all_waits(), kFirstMbarrier, kMbarriers),
            std::vector<bool>(kMbarriers, true));
}

TEST(MissingWaitsOfRows, OfCopiesByThreadsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kCopyWaits}));
}
TEST(MissingWaitsOfRows, OfProductsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProductWaits}));
}
TEST(MissingWaitsOfRows, OfGridsShow) { EXPECT_TRUE(shows({.what = Ignored::What::kGridWaits})); }
TEST(MissingWaitsOfRows, FencesOfWritesShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProxyFences}));
}

}  // namespace
}  // namespace seesaw::emulator
