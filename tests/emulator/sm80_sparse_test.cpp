// Sparse attention by the portable core.
#include "any_conditions.hpp"
#include "sparse_call.hpp"

namespace seesaw::emulator {
namespace {

using emulator::expect_contract;

using Decode = DecodeBy<attention::Sm80Core>;
using Prefill = PrefillBy<attention::Sm80Core>;

void expect_contract(const SparseSpec& spec, const SparseShares& shares = {}) {
  expect_contract<Decode>(SparseCase(spec), shares);
}

class Sm80Sparse : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm80Sparse, ::testing::ValuesIn(kConditionsOfCopies),
                         kNameOfConditions);

TEST_P(Sm80Sparse, ListsOfAnyLength) {
  for (const int64_t topk : {1, 31, 32, 33, 100}) {
    expect_contract({.s_q = 2, .cache = {.topk = topk}});
    expect_contract({.h_q = 20, .cache = {.topk = topk, .page_size = 5}}, {.num_workers = 4});
  }
}

TEST_P(Sm80Sparse, StrangersAndLengths) {
  expect_contract({.batch = 3,
                   .s_q = 2,
                   .cache = {.topk = 70, .lengths = {70, 0, 33}},
                   .strangers = lab::Strangers::kAnything,
                   .stranger_share = 0.5});
  expect_contract({.cache = {.topk = 64}, .stranger_share = 1.0});
}

TEST_P(Sm80Sparse, ExtraCacheOfAnotherFormat) {
  for (const int32_t rows : {16, 32}) {
    expect_contract({.batch = 2,
                     .s_q = 2,
                     .h_q = 24,
                     .d_qk = 512,
                     .cache = {.format = SEESAW_FORMAT_FP8_584, .topk = 40, .lengths = {40, 7}},
                     .extra = {.format = SEESAW_FORMAT_FP4_288,
                               .topk = 70,
                               .page_size = 3,
                               .pages = 60,
                               .lengths = {0, 70}},
                     .sinks = std::vector<float>(24, 0.5F)},
                    {.num_workers = 3, .tile_rows = rows});
  }
  expect_contract({.cache = {.topk = 33}, .extra = {.topk = 5, .page_size = 16}},
                  {.num_workers = 3});
}

TEST_P(Sm80Sparse, EveryFormat) {
  for (const CacheFormat& format : byte_formats()) {
    if (format.columns() < 512) continue;  // the indexer's keys
    expect_contract({.d_qk = format.columns(),
                     .cache = {.format = format.id,
                               .topk = 75,
                               .page_size = 7,
                               .pages = 40,
                               .scale = format.tensor_scale ? 0.4F : 1.0F}});
  }
}

TEST_P(Sm80Sparse, Sinks) {
  expect_contract({.h_q = 4,
                   .cache = {.topk = 300, .lengths = {300, 0}},
                   .sinks = {-kInfinity, kInfinity, 0.0F, 5.0F}},
                  {.num_workers = 4});
}

TEST_P(Sm80Sparse, AnySharedMemory) {
  for (const int32_t kilobytes : {80, 99, 113, 163, 227}) {
    expect_contract({.s_q = 2, .cache = {.topk = 130}},
                    {.num_workers = 2, .shared_bytes = kilobytes << 10});
  }
}

TEST_P(Sm80Sparse, Prefill) {
  expect_contract<Prefill>(
      SparseCase({.batch = 7, .h_q = 6, .cache = {.topk = 50, .page_size = 1, .pages = 90}}));
  expect_contract<Prefill>(
      SparseCase({.batch = 5,
                  .h_q = 40,
                  .cache = {.topk = 33, .page_size = 1, .pages = 60, .lengths = {33, 0, 1, 20, 33}},
                  .sinks = std::vector<float>(40, -1.0F)}));
}

TEST_P(Sm80Sparse, QueriesInTwoParts) {
  expect_parts_alike<Decode>({.s_q = 2, .h_q = 9, .cache = {.topk = 70}, .q_gap = 3});
  expect_parts_alike<Prefill>(
      {.batch = 3, .h_q = 20, .cache = {.topk = 50, .page_size = 1, .pages = 90}});
}

TEST_P(Sm80Sparse, CheckDataNamesTheFirstDoubtfulEntry) {
  expect_decode_lists_checked<Decode>();
  const SparseSpec rows{
      .batch = 5,
      .h_q = 4,
      .cache = {.topk = 33, .page_size = 1, .pages = 60, .lengths = {33, 0, 1, 20, 33}}};
  EXPECT_EQ(refusal<Prefill>(rows, [](SparseCase&) {}), "");
  expect_part(refusal<Prefill>(rows, [](SparseCase& of) { of.set_slot(0, 3, 0, 19, 60); }),
              "sparse_prefill: indices[3, 0, 19] = 60, allowed: -1, or a row of the 60 of kv");
  expect_part(refusal<Prefill>(rows, [](SparseCase& of) { of.set_length(0, 2, 34); }),
              "topk_length[2] = 34");
}

// Lists whose lengths changed behind the planner's back.
TEST_P(Sm80Sparse, CheckDataFindsAScheduleOfOtherLengths) {
  SparseCase test_case({.batch = 2, .cache = {.topk = 300, .lengths = {300, 300}}});
  SparseCall<Decode> call(test_case, {.num_workers = 3}, true);
  must(call.prepare());
  test_case.set_length(0, 1, 5);
  expect_part(call.run().message(), "of the schedule");
  must(call.prepare());
  must(call.run());
}

}  // namespace
}  // namespace seesaw::emulator
