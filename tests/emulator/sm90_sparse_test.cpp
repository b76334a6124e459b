// Sparse attention on Hopper: rows that lie anywhere, multiplied by the seesaw, or with operands
// swapped.
#include <algorithm>

#include "any_conditions.hpp"
#include "attention/sm90/config.hpp"
#include "sparse_call.hpp"

namespace seesaw::emulator {
namespace {

constexpr int64_t kTwoRowTiles = attention::sm90::kSwappedRows + 4;

class Sm90Sparse : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm90Sparse, ::testing::ValuesIn(kAnyConditions),
                         kNameOfConditions);

// By both, swapped operands with no more than two of their row tiles: the emulated GPU is small.
void expect_contract_of_sm90(SparseSpec spec, const SparseShares& shares) {
  expect_contract<DecodeBy<attention::Sm90Core>>(SparseCase(spec), shares);
  spec.h_q = std::min<int64_t>(spec.h_q, kTwoRowTiles);
  expect_contract<DecodeBy<attention::Sm90SwappedCore>>(SparseCase(spec), shares);
}

TEST_P(Sm90Sparse, QueriesInTwoParts) {
  expect_parts_alike<DecodeBy<attention::Sm90Core>>({.s_q = 2, .h_q = 9, .cache = {.topk = 70}});
  expect_parts_alike<DecodeBy<attention::Sm90Core>>({.h_q = 70, .cache = {.topk = 70}, .q_gap = 3});
  expect_parts_alike<DecodeBy<attention::Sm90SwappedCore>>(
      {.h_q = kTwoRowTiles, .cache = {.topk = 70}, .q_gap = 3});
}

const std::vector<int32_t> kSm90Formats = {
    SEESAW_BFLOAT16,       SEESAW_FORMAT_FP8_656,       SEESAW_FORMAT_FP8_584,
    SEESAW_FORMAT_FP8_576, SEESAW_FORMAT_FP8_576_TOKEN, SEESAW_FORMAT_FP8_528};

lab::SparseSpec sm90_spec(int32_t format_id) {
  const CacheFormat format = cache_format(format_id, 576);
  return {.d_qk = format.columns(),
          .cache = {.format = format_id,
                    .page_size = 12,
                    .pages = 30,
                    .scale = format.tensor_scale ? 0.4F : 1.0F}};
}

TEST_P(Sm90Sparse, EveryFormat) {
  for (const int32_t format : kSm90Formats) {
    lab::SparseSpec spec = sm90_spec(format);
    spec.s_q = 2;
    for (const int64_t topk : {1, 64, 129, 300}) {
      spec.cache.topk = topk;
      expect_contract_of_sm90(spec, {.num_workers = 3});
    }
  }
}

TEST_P(Sm90Sparse, StrangersAndLengths) {
  for (const int32_t format : std::vector<int32_t>{SEESAW_BFLOAT16, SEESAW_FORMAT_FP8_656}) {
    lab::SparseSpec spec = sm90_spec(format);
    spec.batch = 3;
    spec.h_q = 50;
    spec.cache.topk = 200;
    spec.cache.lengths = {200, 0, 97};
    spec.strangers = lab::Strangers::kAnything;
    spec.stranger_share = 0.5;
    expect_contract_of_sm90(spec, {.num_workers = 2});
    spec.stranger_share = 1.0;
    expect_contract_of_sm90(spec, {.num_workers = 1});
  }
}

TEST_P(Sm90Sparse, CheckDataNamesTheFirstDoubtfulEntry) {
  expect_decode_lists_checked<DecodeBy<attention::Sm90Core>>();
}

TEST_P(Sm90Sparse, ExtraCacheAndSinks) {
  lab::SparseSpec spec = sm90_spec(SEESAW_FORMAT_FP8_584);
  spec.batch = 2;
  spec.s_q = 2;
  spec.h_q = 4;
  spec.cache.topk = 100;
  spec.cache.lengths = {100, 7};
  spec.extra = {.format = SEESAW_FORMAT_FP8_528,
                .topk = 170,
                .page_size = 3,
                .pages = 90,
                .lengths = {0, 170}};
  spec.sinks = {-kInfinity, kInfinity, 0.0F, 5.0F};
  expect_contract_of_sm90(spec, {.num_workers = 3});
}

TEST_P(Sm90Sparse, Prefill) {
  for (const int64_t d_qk : {576, 512}) {
    const auto of_heads = [&](int64_t heads) {
      return SparseCase(
          {.batch = 5,
           .h_q = heads,
           .d_qk = d_qk,
           .cache = {.topk = 150, .page_size = 1, .pages = 190, .lengths = {133, 0, 1, 64, 150}},
           .sinks = std::vector<float>(static_cast<size_t>(heads), -1.0F)});
    };
    expect_contract<PrefillBy<attention::Sm90Core>>(of_heads(40));
    expect_contract<PrefillBy<attention::Sm90SwappedCore>>(of_heads(kTwoRowTiles));
  }
}

}  // namespace
}  // namespace seesaw::emulator
