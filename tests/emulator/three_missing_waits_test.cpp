// The same as missing_waits_test.cpp for sm90.dense_decode.three: each line of the tables in
// src/ops/dense_decode/sm90/three/README.md is ignored in turn.
#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "missing_waits.hpp"
#include "ops/dense_decode/sm90/three/smem.cuh"

namespace seesaw::emulator {
namespace {

namespace three = dense_decode::sm90::three;
using three::SharedStorage;

WaitCases cases() {
  WaitCases all;
  const Shares one = {.core = Core::kThree};
  // Pieces of many lengths and none; rows that see different tokens. A NaN that only the last query
  // token sees, in either slot of P: its value may be cleaned only when all scores are
  // done.
  lab::DecodeCase& inputs =
      all.add({.seq_lens = {64, 460, 0, 130, 64, 129}, .s_q = 4, .h_q = 16, .causal = 1}, one);
  inputs.set_key(1, 459, 0, 300, NAN);
  inputs.set_key(5, 128, 0, 100, NAN);
  // The frame moves from tile to tile; several workers, and so the combine. Whole tiles, without
  // the NaN of dead tokens: a row that has met one is computed anew.
  all.add({.seq_lens = {448, 256}, .h_q = 16, .query_magnitude = 400.0F},
          {.num_workers = 2, .core = Core::kThree});
  return all;
}

bool shows(const Ignored& ignored) { return emulator::shows(cases, ignored); }

TEST(MissingWaitsOfThree, NothingIsMissing) { EXPECT_EQ(cases().shown({}), ""); }

// ---- named barriers

class MissingBarrierOfThree : public ::testing::TestWithParam<int> {
 protected:
  static Ignored without(Ignored::Turns turns) {
    return {.what = Ignored::What::kNamedBarrier,
            .which = static_cast<uint32_t>(GetParam()),
            .turns = turns};
  }
};
TEST_P(MissingBarrierOfThree, Shows) { EXPECT_TRUE(shows(without(Ignored::Turns::kAll))); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingBarrierOfThree,
                         ::testing::Values(three::kHandedOver, three::kHandedOver + 1,
                                           three::kHandedOver + 2, three::kHandedOver + 3,
                                           three::kScoresAhead, three::kScoresAhead + 1,
                                           three::kScoresAhead + 2, three::kScoresAhead + 3,
                                           three::kQueriesThere, three::kPieceKnown,
                                           three::kBarriersReady),
                         [](const auto& test) { return "Number" + std::to_string(test.param); });

// An infinite value that some rows see with a probability of 0: the end of the piece writes NaN
// over all of the half's results, when they are written.
class MissingHalfWritten : public ::testing::TestWithParam<int> {
 protected:
  // Whether a row that sees the value has none in its column.
  static bool shows(const Conditions& any, bool ignored) {
    const int barrier = three::kHalfWritten + GetParam();
    const int64_t column = 300 * GetParam();
    lab::DecodeCase inputs(
        {.seq_lens = {128}, .s_q = 4, .h_q = 16, .causal = 1, .query_magnitude = 0.0F});
    inputs.set_key(0, 126, 0, column, -INFINITY);
    for (int64_t i = 0; i < 64; ++i) inputs.set_query(0, i / 16, i % 16, column, 1.0F);
    const Ignored without = {
        .what = ignored ? Ignored::What::kNamedBarrier : Ignored::What::kNothing,
        .which = static_cast<uint32_t>(barrier)};
    const UnderConditions here({any.order, any.timing, without});
    DecodeCall call(inputs, {.core = Core::kThree});
    EXPECT_EQ(call.run(), "");
    const std::vector<double> out = call.results().out;
    for (size_t row = 32; row < 64; ++row) {  // of query tokens 2 and 3
      if (!std::isnan(out[row * 512 + static_cast<size_t>(column)])) return true;
    }
    return false;
  }
};
TEST_P(MissingHalfWritten, Shows) {
  bool shown = false;
  for (const Conditions& any : kAnyConditions) {
    EXPECT_FALSE(shows(any, false));
    shown = shown || shows(any, true);
  }
  EXPECT_TRUE(shown);
}
INSTANTIATE_TEST_SUITE_P(Emulated, MissingHalfWritten, ::testing::Values(0, 1),
                         [](const auto& test) { return test.param == 0 ? "Left" : "Right"; });

// The score warpgroup meets its barrier twice a piece: before its queries are written, and after.
// That the second is left out does not show: each warp writes the rows of Q that it multiplies,
// here and on the hardware there is; PTX does not say so.
using MissingQueriesOfThree = MissingBarrierOfThree;
TEST_P(MissingQueriesOfThree, BeforeShows) { EXPECT_TRUE(shows(without(Ignored::Turns::kEven))); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingQueriesOfThree, ::testing::Values(three::kQueriesThere),
                         [](const auto&) { return "Queries"; });

// ---- mbarriers: who waits for which

constexpr size_t kFirstMbarrier = offsetof(SharedStorage, kv_full);
constexpr size_t kMbarriers =
    (offsetof(SharedStorage, prob_empty) + sizeof(SharedStorage::prob_empty) - kFirstMbarrier) /
    sizeof(uint64_t);

std::vector<Wait> all_waits() {
  constexpr unsigned kLeft = dense_decode::sm90::kWarpgroupThreads;
  constexpr unsigned kEnd = dense_decode::sm90::kThreads;
  std::vector<Wait> waits;
  const auto add = [&](const std::string& name, size_t first, size_t index, unsigned begin,
                       unsigned end) {
    waits.push_back({name, first + index * sizeof(uint64_t), begin, end});
  };
  for (size_t stage = 0; stage < three::kStages; ++stage) {
    for (size_t half = 0; half < dense_decode::sm90::kHalves; ++half) {
      const std::string of = std::to_string(stage) + std::to_string(half);
      const size_t index = stage * dense_decode::sm90::kHalves + half;
      add("KvFull" + of, offsetof(SharedStorage, kv_full), index, 0, kLeft);
      add("KvEmpty" + of, offsetof(SharedStorage, kv_empty), index, kLeft, kEnd);
    }
  }
  add("RotaryFull", offsetof(SharedStorage, rotary_full), 0, 0, kLeft);
  add("RotaryEmptyOfScores", offsetof(SharedStorage, rotary_empty), 0, 0, kLeft);
  add("RotaryEmptyOfLeft", offsetof(SharedStorage, rotary_empty), 0, kLeft, kEnd);
  for (size_t slot = 0; slot < three::kProbSlots; ++slot) {
    add("ProbEmpty" + std::to_string(slot), offsetof(SharedStorage, prob_empty), slot, 0, kLeft);
  }
  return waits;
}

class MissingWaitOfThree : public ::testing::TestWithParam<Wait> {};
TEST_P(MissingWaitOfThree, Shows) { EXPECT_TRUE(shows(GetParam().ignored())); }
INSTANTIATE_TEST_SUITE_P(Emulated, MissingWaitOfThree, ::testing::ValuesIn(all_waits()),
                         [](const auto& test) { return test.param.name; });

TEST(MissingWaitsOfThree, EveryMbarrierIsListed) {
  EXPECT_EQ(listed_mbarriers(all_waits(), kFirstMbarrier, kMbarriers),
            std::vector<bool>(kMbarriers, true));
}

// ---- waits without a barrier

TEST(MissingWaitsOfThree, OfProductsShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProductWaits}));
}
TEST(MissingWaitsOfThree, OfGridsShow) { EXPECT_TRUE(shows({.what = Ignored::What::kGridWaits})); }
TEST(MissingWaitsOfThree, FencesOfWritesShow) {
  EXPECT_TRUE(shows({.what = Ignored::What::kProxyFences}));
}

}  // namespace
}  // namespace seesaw::emulator
