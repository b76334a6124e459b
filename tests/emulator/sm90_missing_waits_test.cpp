// The same as missing_waits_test.cpp for the attention kernels whose producers bring rows that lie
// anywhere, the seesaw and the one with swapped operands: each line of the tables in
// src/attention/sm90/README.md is ignored in turn.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "attention/sm90/smem.cuh"
#include "missing_waits.hpp"

namespace seesaw::emulator {
namespace {

namespace sm90 = attention::sm90;

using Seesaw = sm90::Config<__nv_bfloat16, 576, true>;
using Swapped = sm90::Config<__nv_bfloat16, 576, true, sm90::kSwappedRows>;
using Tiles = sm90::TileStorage<Seesaw>;

constexpr Core kKernels[] = {Core::kRows, Core::kSwapped};
std::string name_of(Core core) { return core == Core::kRows ? "Seesaw" : "Swapped"; }

// Of the tiles in a block's shared memory, which are alike.
size_t tiles_of(Core core) {
  static_assert(sizeof(Tiles) == sizeof(sm90::TileStorage<Swapped>));
  return core == Core::kRows ? offsetof(sm90::SharedStorage<Seesaw>, tiles)
                             : offsetof(sm90::SharedStorage<Swapped>, tiles);
}

WaitCases cases(Core core) {
  WaitCases all;
  // e4m3, of which scales come on a way of their own; pieces of many lengths and none.
  lab::DecodeSpec spec = {.seq_lens = {330, 0, 129}, .s_q = 2, .h_q = 12, .causal = 1};
  spec.page_size = 7;
  spec.kv_format = SEESAW_FORMAT_FP8_656;
  all.add(spec, {.core = core});
  // The frame moves from tile to tile; several workers, and so the combine.
  all.add({.seq_lens = {500, 130}, .h_q = 20, .page_size = 3, .query_magnitude = 40.0F},
          {.num_workers = 2, .core = core});
  return all;
}

bool shows(Core core, const Ignored& ignored) {
  return emulator::shows([core] { return cases(core); }, ignored);
}

class MissingWaitsOfRows : public ::testing::TestWithParam<Core> {};
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWaitsOfRows, ::testing::ValuesIn(kKernels),
                         [](const auto& test) { return name_of(test.param); });

TEST_P(MissingWaitsOfRows, NothingIsMissing) { EXPECT_EQ(cases(GetParam()).shown({}), ""); }

constexpr const char* kBarrierNames[] = {"SyncThreads", "Frame0Ready", "Frame1Ready",
                                         "P0Stored",    "P1Stored",    "SumsReady",
                                         "LeftScrub",   "RightScrub",  "QueriesReady"};
static_assert(std::size(kBarrierNames) == sm90::kNamedBarrierCount);

class MissingBarrierOfRows : public ::testing::TestWithParam<std::tuple<Core, int>> {};
TEST_P(MissingBarrierOfRows, Shows) {
  const auto [core, barrier] = GetParam();
  EXPECT_TRUE(
      shows(core, {.what = Ignored::What::kNamedBarrier, .which = static_cast<uint32_t>(barrier)}));
}
// Not those of a scrub: rows of which it has changed a value are computed anew.
INSTANTIATE_TEST_SUITE_P(
    Emulated, MissingBarrierOfRows,
    ::testing::Combine(::testing::ValuesIn(kKernels),
                       ::testing::Values(sm90::kFrame0Ready, sm90::kFrame1Ready, sm90::kP0Stored,
                                         sm90::kP1Stored, sm90::kSumsReady, sm90::kQueriesReady)),
    [](const auto& test) {
      return name_of(std::get<0>(test.param)) + kBarrierNames[std::get<1>(test.param)];
    });

constexpr size_t kFirstMbarrier = offsetof(Tiles, kv_full);
constexpr size_t kMbarriers =
    (offsetof(Tiles, kv_empty) + sizeof(Tiles::kv_empty) - kFirstMbarrier) / sizeof(uint64_t);

std::vector<Wait> all_waits(size_t tiles) {
  constexpr unsigned kProducers = sm90::kConsumerThreads;
  std::vector<Wait> waits;
  const auto add = [&](const std::string& name, size_t first, size_t count, unsigned begin,
                       unsigned end) {
    for (size_t i = 0; i < count; ++i) {
      waits.push_back({name + std::to_string(i), tiles + first + i * sizeof(uint64_t), begin, end});
    }
  };
  add("KvFull", offsetof(Tiles, kv_full), 2 * Seesaw::kKvCopies, 0, kProducers);
  add("KvEmpty", offsetof(Tiles, kv_empty), 2 * 2, kProducers, sm90::kThreads);
  return waits;
}

// The emulator lets a warp go on until it waits. So what a warp announces behind a tile's first
// copy comes, there, together with it or with that of its other half; and of two halves that are
// let go one behind the other, the second is. On a GPU it need not be so.
bool is_implied(Core core, const std::string& name) {
  const bool first_copy = name == "KvFull0" || name == "KvFull6";  // of buffer 0 and of buffer 1
  return (name.starts_with("KvFull") && !first_copy) ||
         name == (core == Core::kRows ? "KvEmpty1" : "KvEmpty2");
}

std::vector<std::tuple<Core, Wait>> waits_that_show() {
  std::vector<std::tuple<Core, Wait>> shown;
  for (const Core core : kKernels) {
    for (const Wait& wait : all_waits(tiles_of(core))) {
      if (!is_implied(core, wait.name)) shown.emplace_back(core, wait);
    }
  }
  return shown;
}

class MissingWaitOfRows : public ::testing::TestWithParam<std::tuple<Core, Wait>> {};
TEST_P(MissingWaitOfRows, Shows) {
  const auto& [core, wait] = GetParam();
  EXPECT_TRUE(shows(core, wait.ignored()));
}
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWaitOfRows, ::testing::ValuesIn(waits_that_show()),
                         [](const auto& test) {
                           return name_of(std::get<0>(test.param)) + std::get<1>(test.param).name;
                         });

TEST(MissingMbarriersOfRows, AreAllListed) {
  EXPECT_EQ(listed_mbarriers(all_waits(0), kFirstMbarrier, kMbarriers),
            std::vector<bool>(kMbarriers, true));
}

TEST_P(MissingWaitsOfRows, OfCopiesByThreadsShow) {
  EXPECT_TRUE(shows(GetParam(), {.what = Ignored::What::kCopyWaits}));
}
TEST_P(MissingWaitsOfRows, OfProductsShow) {
  EXPECT_TRUE(shows(GetParam(), {.what = Ignored::What::kProductWaits}));
}
TEST_P(MissingWaitsOfRows, OfGridsShow) {
  EXPECT_TRUE(shows(GetParam(), {.what = Ignored::What::kGridWaits}));
}
TEST_P(MissingWaitsOfRows, FencesOfWritesShow) {
  EXPECT_TRUE(shows(GetParam(), {.what = Ignored::What::kProxyFences}));
}

}  // namespace
}  // namespace seesaw::emulator
