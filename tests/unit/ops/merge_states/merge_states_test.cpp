// merge_states on the CPU against its definition: shapes, dtypes, LSE layouts and bases, empty
// parts, NaN, results that replace a part, bad input.
#include <gtest/gtest.h>

#include <cstring>

#include "support/merge_case.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

// A case with the structs of its call.
struct HostMerge {
  explicit HostMerge(MergeCase& the_case) {
    for (size_t i = 0; i < the_case.outs.size(); ++i) {
      outs.push_back(the_case.out_tensor(the_case.outs[i].data()));
      lses.push_back(the_case.lse_tensor(the_case.lses[i].data()));
    }
    args.outs = outs.data();
    args.lses = lses.data();
    args.out = the_case.out_tensor(the_case.out.data());
    args.lse = the_case.lse_tensor(the_case.lse.data());
  }
  std::vector<seesaw_tensor> outs;
  std::vector<seesaw_tensor> lses;
  seesaw_merge_states_args args;
};

class Merge : public ::testing::TestWithParam<const char*> {
 protected:
  seesaw_options options() const { return {.num_threads = 2, .kernel = GetParam()}; }

  void expect_merged(const MergeSpec& spec) const {
    MergeCase the_case(spec);
    const HostMerge host(the_case);
    MergeStates(the_case.problem(), options()).run(host.args, {});
    EXPECT_EQ(the_case.compare(), "");
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, Merge,
                         ::testing::Values("cpu.merge_states", "reference.merge_states"));

TEST_P(Merge, EveryShapeDtypeBaseAndLayout) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    for (const int64_t parts : {2, 3, 33, 64}) {
      expect_merged({.parts = parts, .dtype = dtype});
    }
    for (const int64_t d_v : {1, 7, 257, 512}) {
      expect_merged({.b = 2, .s = 3, .h = 5, .d_v = d_v, .dtype = dtype, .gap = 3});
    }
    for (const int32_t base : {SEESAW_LSE_NATURAL, SEESAW_LSE_BASE2}) {
      for (const LseOrder order : {LseOrder::kTokensHeads, LseOrder::kHeadsTokens}) {
        expect_merged({.parts = 3,
                       .b = 4,
                       .s = 2,
                       .dtype = dtype,
                       .lse_base = base,
                       .empty_lse = base,
                       .order = order});
      }
    }
  }
}

TEST_P(Merge, LsesFarApartNeitherOverflowNorVanish) {
  expect_merged({.parts = 4, .spread = 60.0F});
  expect_merged({.parts = 4, .lse_base = SEESAW_LSE_BASE2, .spread = 100.0F});
}

// The second part is nearly the first's opposite: what is left is small, and the error is not in
// proportion to it.
TEST_P(Merge, PartsThatCancel) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    MergeCase the_case({.parts = 2, .dtype = dtype});
    for (int64_t row = 0; row < the_case.rows(); ++row) {
      float& second = the_case.lses[1][the_case.lse_index(row)];
      if (std::isinf(second) || std::isinf(the_case.lses[0][the_case.lse_index(row)])) continue;
      second = the_case.lses[0][the_case.lse_index(row)] + 0.01F;
      for (int64_t c = 0; c < the_case.spec().d_v; ++c) {
        const size_t i = the_case.out_index(row, c);
        the_case.outs[1].set(i, -the_case.outs[0].get(i));
      }
      the_case.solve(row);
    }
    const HostMerge host(the_case);
    MergeStates(the_case.problem(), options()).run(host.args, {});
    EXPECT_EQ(the_case.compare(), "");
  }
}

TEST_P(Merge, TheResultMayReplaceAPart) {
  MergeCase the_case({.parts = 3, .b = 7});
  HostMerge host(the_case);
  host.args.out = host.outs[1];
  host.args.lse = host.lses[1];
  MergeStates(the_case.problem(), options()).run(host.args, {});
  the_case.out = the_case.outs[1];
  the_case.lse = the_case.lses[1];
  EXPECT_EQ(the_case.compare(), "");
}

TEST_P(Merge, NaNIsNeverHidden) {
  MergeCase the_case({.parts = 2, .b = 8, .h = 1});
  the_case.lses[0][1] = std::numeric_limits<float>::quiet_NaN();
  the_case.outs[1].set(the_case.out_index(3, 9), std::numeric_limits<float>::quiet_NaN());
  const HostMerge host(the_case);
  MergeStates(the_case.problem(), options()).run(host.args, {});
  EXPECT_TRUE(std::isnan(the_case.out.get(the_case.out_index(1, 0))));
  EXPECT_TRUE(std::isnan(the_case.lse[1]));
  EXPECT_TRUE(std::isnan(the_case.out.get(the_case.out_index(3, 9))));
  EXPECT_FALSE(std::isnan(the_case.out.get(the_case.out_index(3, 8))));
}

TEST_P(Merge, FewerTokensThanPlannedAndNone) {
  MergeCase the_case({.b = 2});
  const HostMerge host(the_case);
  seesaw_merge_states_problem larger = the_case.problem();
  larger.batch = 50;
  MergeStates(larger, options()).run(host.args, {});
  EXPECT_EQ(the_case.compare(), "");
  MergeCase empty({.b = 0});
  const HostMerge nothing(empty);
  MergeStates(larger, options()).run(nothing.args, {});
}

// ---- partial results in one buffer

// The parts of a case in one buffer, with gaps between tokens and between parts.
class Stack {
 public:
  // lse_in_row: behind the columns of its row; else apart, in the case's order.
  Stack(const MergeCase& the_case, bool lse_in_row)
      : case_(the_case), lse_in_row_(lse_in_row), elements_(spec().dtype, size()) {
    const MergeSpec& s = spec();
    for (int64_t part = 0; part < s.parts; ++part) {
      for (int64_t row = 0; row < the_case.rows(); ++row) {
        const auto at = static_cast<size_t>(part * part_stride() + row / s.h * token_stride() +
                                            row % s.h * row_stride());
        const auto i = static_cast<size_t>(part);
        for (int64_t c = 0; c < s.d_v; ++c) {
          elements_.set(at + static_cast<size_t>(c),
                        the_case.outs[i].get(the_case.out_index(row, c)));
        }
        const float lse = the_case.lses[i][the_case.lse_index(row)];
        if (lse_in_row) {
          std::memcpy(static_cast<char*>(elements_.data()) +
                          (at + static_cast<size_t>(s.d_v)) * elements_.size(),
                      &lse, sizeof(lse));
        }
      }
      lses_.insert(lses_.end(), the_case.lses[static_cast<size_t>(part)].begin(),
                   the_case.lses[static_cast<size_t>(part)].end());
      lses_.push_back(0.0F);  // between parts
    }
  }

  StackedStates parts() {
    const MergeSpec& s = spec();
    seesaw_tensor rows = make_tensor(elements_.data(), s.dtype, {s.parts, s.b, s.h, columns()});
    rows.stride[0] = part_stride();
    rows.stride[1] = token_stride();
    rows.stride[2] = row_stride();
    if (lse_in_row_) {
      return StackedStates::packed(rows, s.d_v);
    }
    seesaw_tensor lses = make_tensor(lses_.data(), SEESAW_FLOAT32, {s.parts, s.b, s.h});
    lses.stride[0] = case_.rows() + 1;
    if (s.order == LseOrder::kHeadsTokens) {
      lses.stride[1] = 1;
      lses.stride[2] = s.b;
    }
    return StackedStates::of(rows, lses);
  }

 private:
  const MergeSpec& spec() const { return case_.spec(); }
  int64_t columns() const {
    return spec().d_v + (lse_in_row_ ? 4 / (spec().dtype == SEESAW_FLOAT32 ? 4 : 2) : 0);
  }
  int64_t row_stride() const { return columns() + spec().gap; }
  int64_t token_stride() const { return spec().h * row_stride() + 2; }
  int64_t part_stride() const { return spec().b * token_stride() + 4; }
  size_t size() const { return static_cast<size_t>(spec().parts * part_stride()); }

  const MergeCase& case_;
  bool lse_in_row_;
  Elements elements_;
  std::vector<float> lses_;
};

class MergeStacked : public Merge {
 protected:
  void expect_merged_stack(MergeCase& the_case) const {
    for (const bool lse_in_row : {false, true}) {
      Stack stack(the_case, lse_in_row);
      const StackedStates parts = stack.parts();
      HostMerge host(the_case);
      host.args.outs = parts.outs();
      host.args.lses = parts.lses();
      MergeStates(the_case.problem(), options()).run(host.args, {});
      EXPECT_EQ(the_case.compare(), "") << (lse_in_row ? "packed" : "stacked");
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, MergeStacked,
                         ::testing::Values("cpu.merge_states", "reference.merge_states"));

TEST_P(MergeStacked, OfTwoToNineAndOf64) {
  for (const seesaw_dtype dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    for (const int64_t parts : {2, 3, 4, 5, 6, 7, 8, 9, 64}) {
      for (const LseOrder order : {LseOrder::kTokensHeads, LseOrder::kHeadsTokens}) {
        MergeCase the_case({.parts = parts,
                            .b = 5,
                            .d_v = 32,
                            .dtype = dtype,
                            .order = order,
                            .gap = parts % 2 * 2});
        expect_merged_stack(the_case);
      }
    }
  }
}

// A rank whose share of the sequences is empty: its columns are not read.
TEST_P(MergeStacked, RanksThatSawNothing) {
  for (const size_t empty : {0U, 2U, 3U}) {
    MergeCase the_case({.parts = 4, .b = 6, .d_v = 32});
    for (int64_t row = 0; row < the_case.rows(); ++row) {
      the_case.lses[empty][the_case.lse_index(row)] = -std::numeric_limits<float>::infinity();
      for (int64_t c = 0; c < the_case.spec().d_v; ++c) {
        the_case.outs[empty].set(the_case.out_index(row, c),
                                 std::numeric_limits<float>::quiet_NaN());
      }
      the_case.solve(row);
    }
    expect_merged_stack(the_case);
  }
}

TEST(MergeErrors, StacksMustFit) {
  float memory[64] = {};
  const seesaw_tensor outs = make_tensor(memory, SEESAW_FLOAT32, {2, 3, 4, 2});
  const seesaw_tensor lses = make_tensor(memory, SEESAW_FLOAT32, {2, 4, 3});  // heads first
  EXPECT_THROW(StackedStates::of(outs, lses), Error);
  EXPECT_THROW(StackedStates::of(lses, lses), Error);
  EXPECT_THROW(StackedStates::of(make_tensor(memory, SEESAW_FLOAT32, {65, 3, 4, 2}), lses), Error);
  EXPECT_THROW(StackedStates::packed(outs, 2), Error);  // no room for the LSE
  EXPECT_EQ(StackedStates::packed(outs, 1).count(), 2);
  EXPECT_THROW(StackedStates::packed(make_tensor(memory, SEESAW_BFLOAT16, {2, 1, 3, 5}), 3), Error);
}

TEST(MergeErrors, AreFourParts) {
  MergeCase the_case({.parts = 3});
  HostMerge host(the_case);
  const MergeStates plan(the_case.problem(), {});
  EXPECT_EQ(plan.schedule_bytes(), 0U);
  const auto refused = [&](seesaw_status status, const char* words) {
    const seesaw_call call{};
    expect_refusal(status, words, seesaw_merge_states_run(plan.get(), &host.args, &call));
  };
  host.outs[2].dtype = SEESAW_FLOAT32;
  refused(SEESAW_INVALID_TYPE, "outs has dtype float32");
  host.outs[2] = host.outs[1];
  host.lses[1].shape[0] = 2;
  refused(SEESAW_INVALID_ARGUMENT, "lses has shape [2, 1, 4]");
  host.lses[1] = host.lses[0];
  host.args.lses = nullptr;
  refused(SEESAW_INVALID_ARGUMENT, "lses = NULL");
  host.args.lses = host.lses.data();
  host.args.out.stride[2] = 0;
  refused(SEESAW_INVALID_ARGUMENT, "out has stride 0");
  for (const int64_t parts : {0, 1, 65}) {
    seesaw_merge_states_problem problem = the_case.problem();
    problem.num_parts = parts;
    seesaw_plan* none = nullptr;
    expect_refusal(SEESAW_INVALID_ARGUMENT,
                   "num_parts = ", seesaw_merge_states_plan_create(&problem, nullptr, &none));
  }
}

TEST(MergeErrors, ThereIsNoSchedule) {
  const MergeCase the_case({});
  const MergeStates plan(the_case.problem(), {});
  EXPECT_THROW(plan.pieces(nullptr, 0), Error);
  uint64_t count = 0;
  EXPECT_EQ(seesaw_plan_pieces(plan.get(), nullptr, 0, nullptr, sizeof(seesaw_piece), 0, &count),
            SEESAW_NOT_SUPPORTED);
}

}  // namespace
}  // namespace seesaw::testing
