// The same as missing_waits_test.cpp for the kernel with a ring: each of its barriers in
// src/attention/sm90/README.md is ignored in turn.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "attention/sm90/smem.cuh"
#include "missing_waits.hpp"

namespace seesaw::emulator {
namespace {

namespace sm90 = attention::sm90;

using Config = sm90::RingConfig<__nv_bfloat16, 576>;
using Storage = sm90::SharedStorage<Config>;
using Tiles = sm90::RingStorage<Config>;

WaitCases cases() {
  WaitCases all;
  const Shares one = {.core = Core::kRing};
  // More tiles than the ring holds, pieces of many lengths and none; some rows do not see all.
  all.add({.seq_lens = {530, 0, 129, 64}, .s_q = 2, .h_q = 8, .causal = 1}, one);
  // The frame moves from tile to tile; several workers, and so the combine.
  all.add({.seq_lens = {700, 130}, .h_q = 12, .query_magnitude = 40.0F},
          {.num_workers = 2, .core = Core::kRing});
  return all;
}

bool shows(const Ignored& ignored) { return emulator::shows(cases, ignored); }

TEST(MissingWaitsOfRing, NothingIsMissing) { EXPECT_EQ(cases().shown({}), ""); }

constexpr const char* kBarrierNames[] = {"SyncThreads", "Frame0Ready", "Frame1Ready",
                                         "P0Stored",    "P1Stored",    "SumsReady",
                                         "LeftScrub",   "RightScrub",  "QueriesReady"};
static_assert(std::size(kBarrierNames) == sm90::kNamedBarrierCount);

class MissingBarrierOfRing : public ::testing::TestWithParam<int> {};
TEST_P(MissingBarrierOfRing, Shows) {
  EXPECT_TRUE(
      shows({.what = Ignored::What::kNamedBarrier, .which = static_cast<uint32_t>(GetParam())}));
}
// Not those of a scrub: rows of which it has changed a value are computed anew.
INSTANTIATE_TEST_SUITE_P(Emulated, MissingBarrierOfRing,
                         ::testing::Values(sm90::kFrame0Ready, sm90::kFrame1Ready, sm90::kP0Stored,
                                           sm90::kP1Stored, sm90::kSumsReady, sm90::kQueriesReady),
                         [](const auto& test) { return std::string(kBarrierNames[test.param]); });

constexpr size_t kFirstMbarrier = offsetof(Tiles, kv_full);
constexpr size_t kMbarriers =
    (offsetof(Tiles, kv_empty) + sizeof(Tiles::kv_empty) - kFirstMbarrier) / sizeof(uint64_t);

std::vector<Wait> all_waits(size_t tiles) {
  constexpr unsigned kLoader = sm90::kConsumerThreads;
  std::vector<Wait> waits;
  const auto add = [&](const std::string& name, size_t first, size_t count, unsigned begin,
                       unsigned end) {
    for (size_t i = 0; i < count; ++i) {
      waits.push_back({name + std::to_string(i), tiles + first + i * sizeof(uint64_t), begin, end});
    }
  };
  add("KvFull", offsetof(Tiles, kv_full), Tiles::kFullSlots * sm90::kHalfCopies, 0, kLoader);
  add("KvEmpty", offsetof(Tiles, kv_empty), sm90::kRingHalves, kLoader, Config::kThreads);
  return waits;
}

class MissingWaitOfRing : public ::testing::TestWithParam<Wait> {};
TEST_P(MissingWaitOfRing, Shows) { EXPECT_TRUE(shows(GetParam().ignored())); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWaitOfRing,
                         ::testing::ValuesIn(all_waits(offsetof(Storage, tiles))),
                         [](const auto& test) { return test.param.name; });

TEST(MissingMbarriersOfRing, AreAllListed) {
  EXPECT_EQ(listed_mbarriers(all_waits(0), kFirstMbarrier, kMbarriers),
            std::vector<bool>(kMbarriers, true));
}

TEST(MissingWaitsOfRing, OfCopiesByThreadsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kCopyWaits}));
}
TEST(MissingWaitsOfRing, OfProductsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProductWaits}));
}
TEST(MissingWaitsOfRing, OfGridsShow) { EXPECT_TRUE(shows({.what = Ignored::What::kGridWaits})); }
TEST(MissingWaitsOfRing, FencesOfWritesShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProxyFences}));
}

}  // namespace
}  // namespace seesaw::emulator
