// sparse_decode on the CPU against a definition of the tests' own: formats, page sizes, lists of
// every kind, the extra cache, sinks, what must not be read.
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>

#include "core/cache_format.hpp"
#include "lab/random.hpp"
#include "support/sparse_run.hpp"

namespace seesaw::testing {
namespace {

using lab::SparseCacheSpec;
using lab::Strangers;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class Sparse : public ::testing::TestWithParam<const char*> {
 protected:
  // Three workers, so that lists are split whatever the machine has.
  SparseRunOptions options(int32_t threads = 3) const {
    return {.kernel = GetParam(), .threads = threads};
  }
  void expect_contract(const SparseSpec& spec) const {
    expect_sparse_contract(SparseCase(spec), options());
  }
  SparseResults run(const SparseCase& test_case, int32_t threads = 3) const {
    return run_sparse(test_case, options(threads));
  }

  // A small case in float, whose columns are few.
  static SparseSpec small() {
    return {.batch = 1,
            .h_q = 1,
            .d_qk = 16,
            .d_v = 8,
            .q_dtype = SEESAW_FLOAT32,
            .cache = {.format = SEESAW_FLOAT32, .topk = 6, .page_size = 4, .pages = 3},
            .strangers = Strangers::kNone,
            .duplicate_share = 0};
  }
};
INSTANTIATE_TEST_SUITE_P(Kernels, Sparse, ::testing::Values("cpu", "reference"),
                         [](const auto& kernel) { return std::string(kernel.param); });

int64_t columns_of(int32_t format) { return cache_format(format, 576).columns(); }

TEST_P(Sparse, EveryFormatAndPageSize) {
  std::vector<int32_t> formats = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};
  for (const CacheFormat& format : byte_formats()) {
    formats.push_back(format.id);
  }
  for (const int32_t format : formats) {
    for (const int64_t page_size : {1, 16, 61, 64}) {
      const int64_t columns = columns_of(format);
      SparseSpec spec{
          .h_q = 5,
          .d_qk = columns,
          .d_v = std::min<int64_t>(columns, 512),
          .q_dtype = format == SEESAW_FLOAT32 || format == SEESAW_FLOAT16
                         ? format
                         : int32_t{SEESAW_BFLOAT16},
          .cache = {
              .format = format, .topk = 70, .page_size = page_size, .pages = 200 / page_size + 1}};
      if (format == SEESAW_FORMAT_FP8_576) {
        spec.cache.scale = 0.37F;
      }
      expect_contract(spec);
    }
  }
}

TEST_P(Sparse, QueryDtypes) {
  for (const int32_t dtype : {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32}) {
    for (const int32_t format :
         {int32_t{SEESAW_BFLOAT16}, int32_t{SEESAW_FLOAT32}, int32_t{SEESAW_FORMAT_FP8_656}}) {
      expect_contract({.h_q = 3, .q_dtype = dtype, .cache = {.format = format, .topk = 33}});
    }
  }
}

TEST_P(Sparse, AnyTopkAndHeads) {
  for (const int64_t topk : {1, 2, 63, 64, 65, 128, 700}) {
    expect_contract({.h_q = 4, .cache = {.topk = topk, .pages = 12}});
  }
  for (const int64_t heads : {1, 7, 17, 64, 128}) {
    expect_contract({.h_q = heads});
  }
}

TEST_P(Sparse, QueryTokensHaveListsOfTheirOwn) {
  for (const int64_t s_q : {2, 5}) {
    expect_contract({.batch = 3, .s_q = s_q, .h_q = 4, .cache = {.topk = 100}});
    expect_contract({.batch = 3,
                     .s_q = s_q,
                     .h_q = 4,
                     .cache = {.topk = 100, .lengths = {100, 0, 33}},
                     .sinks = {0.5F, 3.0F, -2.0F, 1.0F}});
  }
}

TEST_P(Sparse, Dimensions) {
  for (const auto& [d_qk, d_v] : {std::pair{512, 512}, {320, 256}, {40, 24}, {7, 1}}) {
    expect_contract({.h_q = 3, .d_qk = d_qk, .d_v = d_v});
  }
}

TEST_P(Sparse, StridesAsGiven) {
  expect_contract({.batch = 3,
                   .s_q = 2,
                   .h_q = 5,
                   .cache = {.topk = 37, .page_gap = 640, .token_gap = 64},
                   .q_gap = 8,
                   .out_gap = 24,
                   .list_gap = 11});
  expect_contract(
      {.h_q = 5, .cache = {.format = SEESAW_FORMAT_FP8_656, .topk = 37, .page_gap = 656}});
}

TEST_P(Sparse, NumbersOfNoSlotArePassedOver) {
  for (const Strangers strangers : {Strangers::kNone, Strangers::kMinusOne, Strangers::kAnything}) {
    for (const double share : {0.1, 0.9, 1.0}) {
      expect_contract({.batch = 4,
                       .h_q = 3,
                       .cache = {.topk = 150},
                       .strangers = strangers,
                       .stranger_share = share});
    }
  }
}

TEST_P(Sparse, ASlotNamedTwiceCountsTwice) {
  SparseSpec spec = small();
  SparseCase test_case(spec);
  std::vector<float> values(16, 0.0F);
  for (const int32_t slot : {2, 9}) {
    std::fill_n(values.begin(), 8, static_cast<float>(slot));
    test_case.write_token(0, slot, values.data());
  }
  const int32_t list[] = {9, -1, 2, 2, 2, -1};
  for (int64_t c = 0; c < 16; ++c) {
    test_case.set_query(0, 0, 0, c, 0.0F);  // all weigh alike
  }
  for (int64_t e = 0; e < 6; ++e) {
    test_case.set_slot(0, 0, 0, e, list[e]);
  }
  const SparseResults results = run(test_case);
  EXPECT_NEAR(results.out[0], (9.0 + 3 * 2.0) / 4, 1e-6);
  EXPECT_NEAR(results.lse[0], std::log(4.0), 1e-6);
  EXPECT_EQ(results.max_logits[0], 0.0);
  expect_contract({.h_q = 4, .cache = {.topk = 200, .pages = 1}, .duplicate_share = 0.8});
}

TEST_P(Sparse, NothingToAttend) {
  for (const bool positive : {false, true}) {
    SparseSpec spec{.batch = 3,
                    .s_q = 2,
                    .h_q = 5,
                    .cache = {.topk = 90, .lengths = {0, 90, -7}},
                    .strangers = Strangers::kAnything,
                    .stranger_share = 1.0};
    spec.empty_lse =
        positive ? SEESAW_EMPTY_LSE_POSITIVE_INFINITY : SEESAW_EMPTY_LSE_NEGATIVE_INFINITY;
    for (const bool sinks : {false, true}) {
      spec.sinks =
          sinks ? std::vector<float>{1.0F, -1.0F, INFINITY, -INFINITY, 0.0F} : std::vector<float>{};
      const SparseResults results = run(SparseCase(spec));
      for (const double value : results.out) {
        ASSERT_EQ(value, 0.0);
      }
      for (size_t row = 0; row < results.lse.size(); ++row) {
        ASSERT_EQ(results.lse[row], positive ? kInfinity : -kInfinity);
        ASSERT_EQ(results.max_logits[row], -kInfinity);
      }
    }
  }
}

TEST_P(Sparse, LengthsAreClamped) {
  expect_contract(
      {.batch = 6,
       .h_q = 3,
       .cache = {.topk = 100, .lengths = {0, 1, 64, 99, 100, 5}},
       .extra = {.topk = 30, .page_size = 2, .pages = 40, .lengths = {30, 0, 1, 29, 7, 0}}});
  SparseCase within({.batch = 2, .h_q = 3, .cache = {.topk = 50, .lengths = {50, 0}}});
  const SparseResults expected = run(within);
  within.set_length(0, 0, INT_MAX);
  within.set_length(0, 1, INT_MIN);
  EXPECT_EQ(run(within), expected);
}

TEST_P(Sparse, AnExtraCacheSharesTheSoftmax) {
  const SparseCacheSpec v4{.format = SEESAW_FORMAT_FP8_584, .topk = 64, .pages = 5};
  for (const int64_t extra_page : {1, 2, 64, 69}) {
    for (const int32_t format : {int32_t{SEESAW_FORMAT_FP8_584}, int32_t{SEESAW_FORMAT_FP4_288},
                                 int32_t{SEESAW_BFLOAT16}}) {
      expect_contract({.s_q = 2,
                       .h_q = 4,
                       .d_qk = 512,
                       .cache = v4,
                       .extra = {.format = format,
                                 .topk = 45,
                                 .page_size = extra_page,
                                 .pages = 140 / extra_page},
                       .strangers = Strangers::kAnything,
                       .sinks = {0.0F, 1.0F, -3.0F, 2.0F}});
    }
  }
  // One of the two may have nothing.
  expect_contract({.batch = 3,
                   .h_q = 4,
                   .cache = {.topk = 70, .lengths = {0, 70, 0}},
                   .extra = {.topk = 130, .lengths = {130, 0, 0}}});
  expect_contract({.h_q = 3,
                   .cache = {.format = SEESAW_FORMAT_FP8_576, .topk = 20, .scale = 0.5F},
                   .extra = {.format = SEESAW_FORMAT_FP8_576, .topk = 20, .scale = 3.0F}});
}

TEST_P(Sparse, SinksTakeTheirShareAndLeaveTheLse) {
  const SparseSpec without{.h_q = 5, .cache = {.topk = 80}, .query_magnitude = 4.0F};
  SparseSpec spec = without;
  spec.sinks = {1.5F, 8.0F, -100.0F, INFINITY, -INFINITY};
  expect_contract(spec);
  const SparseResults plain = run(SparseCase(without));
  const SparseResults results = run(SparseCase(spec));
  EXPECT_EQ(results.lse, plain.lse);
  EXPECT_EQ(results.max_logits, plain.max_logits);
  for (int64_t i = 0; i < 2 * 512; ++i) {  // of each sequence: heads 3 and 4
    const auto at = static_cast<size_t>(i / 512 * 5 * 512 + i % 512);
    ASSERT_EQ(results.out[at + 3 * 512], 0.0);
    ASSERT_EQ(results.out[at + 4 * 512], plain.out[at + 4 * 512]);
  }
  spec.lse_base = SEESAW_LSE_BASE2;  // sinks and maxima stay natural
  expect_contract(spec);
}

TEST_P(Sparse, LseInBaseTwo) { expect_contract({.h_q = 4, .lse_base = SEESAW_LSE_BASE2}); }

TEST_P(Sparse, NaNShowsWhereItIsAttendedAndNowhereElse) {
  const SparseSpec spec{.batch = 3, .s_q = 2, .h_q = 2, .cache = {.topk = 90}};
  SparseCase test_case(spec);
  int32_t slot = -1;
  for (int64_t e = 0; slot < 0; ++e) {
    slot = test_case.slot(0, 1, 1, e);
  }
  test_case.set_key(0, slot, 7, kNaN);
  const SparseResults results = run(test_case);
  for (int64_t item = 0; item < 6; ++item) {
    bool attends = false;
    for (int64_t e = 0; e < 90; ++e) {
      attends = attends || test_case.slot(0, item / 2, item % 2, e) == slot;
    }
    for (int64_t head = 0; head < 2; ++head) {
      const auto number = static_cast<size_t>((item / 2 * 2 + head) * 2 + item % 2);
      EXPECT_EQ(std::isnan(results.lse[number]), attends);
      EXPECT_EQ(std::isnan(results.max_logits[number]), attends);
      for (int64_t c = 0; c < 512; ++c) {
        ASSERT_EQ(std::isnan(results.out[static_cast<size_t>((item * 2 + head) * 512 + c)]),
                  attends);
      }
    }
  }
}

TEST_P(Sparse, OutputsMayBeLeftOutAndHaveAnyStrides) {
  const SparseCase test_case({.batch = 2, .s_q = 3, .h_q = 4});
  const SparseResults expected = run(test_case);
  const std::string kernel = std::string(GetParam()) + ".sparse_decode";
  const SparseDecode plan(test_case.problem(), test_case.options(kernel.c_str(), 3));
  const AlignedBuffer schedule(plan.schedule_bytes());
  const AlignedBuffer workspace(plan.workspace_bytes());
  const seesaw_call call{.schedule = schedule.data(),
                         .schedule_bytes = schedule.size(),
                         .workspace = workspace.data(),
                         .workspace_bytes = workspace.size()};
  seesaw_sparse_decode_args args = test_case.inputs();
  std::vector<uint16_t> out(test_case.out_bytes() / 2);
  args.out = test_case.out_tensor(out.data());
  plan.prepare(args, call);
  plan.run(args, call);
  // [b, s_q, h_q], as some engines have it.
  std::vector<float> lse(test_case.numbers_bytes() / 4);
  args.lse = test_case.numbers_tensor(lse.data());
  args.lse.stride[0] = 12;
  args.lse.stride[1] = 1;
  args.lse.stride[2] = 4;
  plan.run(args, call);
  for (size_t b = 0; b < 2; ++b) {
    for (size_t h = 0; h < 4; ++h) {
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(static_cast<double>(lse[b * 12 + i * 4 + h]), expected.lse[(b * 4 + h) * 3 + i]);
      }
    }
  }
}

TEST_P(Sparse, FewerSequencesThanPlannedAndNone) {
  expect_contract({.batch = 2, .h_q = 3, .planned_batch = 9});
  const SparseCase none({.batch = 0, .h_q = 3});
  EXPECT_TRUE(run(none).out.empty());
}

TEST_P(Sparse, ACacheWithoutPagesHoldsNothing) {
  const SparseResults results = run(SparseCase({.h_q = 3, .cache = {.topk = 4, .pages = 0}}));
  for (const double lse : results.lse) {
    EXPECT_EQ(lse, -kInfinity);
  }
}

TEST_P(Sparse, RepeatedRunsGiveTheSameBits) {
  const SparseCase test_case({.batch = 3, .s_q = 2, .h_q = 9, .cache = {.topk = 500, .pages = 20}});
  EXPECT_EQ(run(test_case), run(test_case));
}

TEST_P(Sparse, BatchInvariantModeIgnoresTheNumberOfWorkers) {
  SparseSpec spec{.batch = 3,
                  .h_q = 5,
                  .cache = {.topk = 700, .pages = 20, .lengths = {700, 64, 300}},
                  .extra = {.topk = 90}};
  spec.batch_invariant = true;
  const SparseCase test_case(spec);
  const SparseResults one = run(test_case, 1);
  EXPECT_EQ(one, run(test_case, 2));
  EXPECT_EQ(one, run(test_case, 5));
  expect_contract(spec);
}

TEST_P(Sparse, EveryDrawOfValues) {
  for (const lab::NamedValues& named : lab::all_values()) {
    expect_contract({.h_q = 4, .cache = {.topk = 300}, .values = named.values});
    expect_contract({.h_q = 4,
                     .cache = {.format = SEESAW_FORMAT_FP8_656, .topk = 100},
                     .values = named.values});
  }
}

SparseCacheSpec random_cache(lab::Random* random, int32_t q_dtype, int64_t batch) {
  constexpr int32_t kBytes[] = {SEESAW_FORMAT_FP8_656, SEESAW_FORMAT_FP8_576,
                                SEESAW_FORMAT_FP8_576_TOKEN, SEESAW_FORMAT_INT8_644};
  SparseCacheSpec spec;
  spec.format = random->between(0, 1) == 0 ? q_dtype : kBytes[random->between(0, 3)];
  spec.topk = random->between(1, 200);
  spec.page_size = random->between(1, 70);
  spec.pages = random->between(1, 300) / spec.page_size + 1;
  if (random->between(0, 1) == 0) {
    for (int64_t i = 0; i < batch; ++i) {
      spec.lengths.push_back(static_cast<int32_t>(random->between(-3, spec.topk + 3)));
    }
  }
  return spec;
}

TEST_P(Sparse, RandomCombinations) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    lab::Random random(seed);
    SparseSpec spec;
    spec.batch = random.between(1, 5);
    spec.s_q = random.between(1, 3);
    spec.h_q = random.between(1, 20);
    spec.q_dtype = static_cast<int32_t>(random.between(SEESAW_FLOAT32, SEESAW_FLOAT16));
    spec.cache = random_cache(&random, spec.q_dtype, spec.batch);
    if (random.between(0, 1) == 0) {
      spec.extra = random_cache(&random, spec.q_dtype, spec.batch);
    }
    spec.strangers = static_cast<Strangers>(random.between(0, 2));
    spec.stranger_share = static_cast<double>(random.between(0, 10)) / 10;
    spec.duplicate_share = static_cast<double>(random.between(0, 5)) / 10;
    for (int64_t h = 0; random.between(0, 1) == 0 && h < 20; ++h) {
      spec.sinks.assign(static_cast<size_t>(spec.h_q), static_cast<float>(h) - 3.0F);
    }
    spec.lse_base = static_cast<int32_t>(random.between(0, 1));
    spec.empty_lse = static_cast<int32_t>(random.between(0, 1));
    spec.batch_invariant = random.between(0, 3) == 0;
    spec.seed = seed;
    expect_contract(spec);
  }
}

}  // namespace
}  // namespace seesaw::testing
