// sparse_decode and sparse_prefill of the cores for GPUs with the device planner and the combine,
// against the definition in double (support/sparse_contract.hpp). Slots that no list names are NaN.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "any_conditions.hpp"
#include "attention/gpu_kernels.hpp"
#include "attention/sm90/config.hpp"
#include "ops/sparse_decode/plan.hpp"
#include "ops/sparse_prefill/plan.hpp"
#include "support/query_parts.hpp"
#include "support/sparse_contract.hpp"

namespace seesaw::emulator {
namespace {

using testing::SparseCase;
using testing::SparseOutputs;
using testing::SparseSpec;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shares {
  int32_t num_workers = 2;
  int32_t tile_rows = kUnset;
  int32_t shared_bytes = kUnset;
};

template <typename Core>
struct DecodeBy {
  static constexpr bool kPrefill = false;
  using Problem = sparse_decode::SparseDecodeProblem;
  using Kernel = attention::GpuKernel<Core, sparse_decode::SparseDecodePlan, sparse_decode::Args>;
  static seesaw_sparse_decode_problem problem(const SparseCase& of) { return of.problem(); }
  static Status complete(Problem* problem) { return sparse_decode::complete(problem); }
  static seesaw_sparse_decode_args args(SparseOutputs& outputs, const SparseCase& of) {
    return outputs.decode_args(of);
  }
};

template <typename Core>
struct PrefillBy {
  static constexpr bool kPrefill = true;
  using Problem = sparse_prefill::SparsePrefillProblem;
  using Kernel =
      attention::GpuKernel<Core, sparse_prefill::SparsePrefillPlan, sparse_prefill::Args>;
  static seesaw_sparse_prefill_problem problem(const SparseCase& of) {
    return of.prefill_problem();
  }
  static Status complete(Problem* problem) { return sparse_prefill::complete(problem); }
  static seesaw_sparse_prefill_args args(SparseOutputs& outputs, const SparseCase& of) {
    return outputs.prefill_args(of);
  }
};

using Decode = DecodeBy<attention::Sm80Core>;
using Prefill = PrefillBy<attention::Sm80Core>;

void must(const Status& status) {
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
}

// A plan for a case, and the memory of one call.
template <typename Operation>
class SparseCall {
 public:
  // parts: of the case's queries; null: they are one tensor.
  SparseCall(const SparseCase& test_case, const Shares& shares, bool check_data = false,
             const testing::QueryParts* parts = nullptr)
      : test_case_(test_case),
        parts_(parts),
        plan_(planned(test_case, shares, check_data, parts)),
        schedule_(plan_.schedule_bytes),
        workspace_(plan_.workspace_bytes),
        outputs_(test_case) {
    call_.schedule = schedule_.data();
    call_.schedule_bytes = schedule_.size();
    call_.workspace = workspace_.data();
    call_.workspace_bytes = workspace_.size();
  }

  Status prepare() { return kKernel.prepare.function(plan_, args(), call_); }
  Status run() { return kKernel.run(plan_, args(), call_); }
  bool intact() const { return schedule_.intact() && workspace_.intact() && outputs_.intact(); }
  auto results() { return outputs_.results(test_case_.spec()); }

 private:
  static constexpr const auto& kKernel = Operation::Kernel::kFunctions;
  using Planned = typename std::remove_cvref_t<decltype(kKernel)>::Planned;

  auto args() {
    const auto args = Operation::args(outputs_, test_case_);
    return parts_ == nullptr ? args : parts_->args(args);
  }

  static Planned planned(const SparseCase& test_case, const Shares& shares, bool check_data,
                         const testing::QueryParts* parts) {
    const auto asked = Operation::problem(test_case);
    typename Operation::Problem problem;
    static_cast<std::remove_const_t<decltype(asked)>&>(problem) =
        parts == nullptr ? asked : parts->problem(asked);
    must(Operation::complete(&problem));
    Options options;
    options.device = {SEESAW_CUDA, 0};
    options.batch_invariant = test_case.spec().batch_invariant;
    options.check_data = check_data;
    options.kernel = "its name";  // what is not chosen for the problem runs it, too
    EXPECT_EQ(kKernel.supports(problem, options).reason, "");
    std::array<int32_t, attention::sm80::kKnobCount> knobs;
    knobs.fill(kUnset);
    knobs[split::kNumWorkers] = shares.num_workers;
    knobs[attention::sm80::kTileRowsKnob] = shares.tile_rows;
    knobs[attention::sm80::kSharedBytesKnob] = shares.shared_bytes;
    Planned plan;
    must(kKernel.plan(problem, options, knobs, &plan));
    return plan;
  }

  const SparseCase& test_case_;
  const testing::QueryParts* parts_;
  Planned plan_;
  testing::GuardedBuffer schedule_;
  testing::GuardedBuffer workspace_;
  SparseOutputs outputs_;
  Call call_{};
};

template <typename Operation>
void expect_contract(const SparseCase& test_case, const Shares& shares = {}) {
  SCOPED_TRACE(describe(test_case.spec()));
  SparseCall<Operation> call(test_case, shares);
  must(call.prepare());
  must(call.run());
  EXPECT_TRUE(call.intact());
  testing::expect_within_contract(test_case, call.results(), Operation::kPrefill);
}

// The queries in two parts: the same bits.
template <typename Operation>
void expect_parts_alike(const SparseSpec& spec) {
  const SparseCase test_case(spec);
  const auto results_of = [&](const testing::QueryParts* parts) {
    SparseCall<Operation> call(test_case, {}, false, parts);
    must(call.prepare());
    must(call.run());
    EXPECT_TRUE(call.intact());
    return call.results();
  };
  for (const testing::QueryParts::Memory memory : testing::kMemoriesOfParts) {
    const seesaw_tensor q =
        Operation::kPrefill ? test_case.prefill_inputs().q : test_case.inputs().q;
    const testing::QueryParts parts(q, 64, memory);
    EXPECT_TRUE(results_of(&parts) == results_of(nullptr)) << describe(spec);
  }
}

void expect_contract(const SparseSpec& spec, const Shares& shares = {}) {
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

// What check_data refuses a case with, after its lists were made such; "": nothing.
template <typename Operation, typename Break>
std::string refusal(const SparseSpec& spec, Break break_it) {
  SparseCase test_case(spec);
  break_it(test_case);
  SparseCall<Operation> call(test_case, {.num_workers = 3}, true);
  must(call.prepare());
  const Status status = call.run();
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  EXPECT_TRUE(call.intact());
  return status.message();
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

template <typename Decode>
void expect_decode_lists_checked() {
  const SparseSpec spec{
      .batch = 3,
      .s_q = 2,
      .h_q = 2,
      .d_qk = 512,
      .cache = {.topk = 300, .page_size = 16, .pages = 30, .lengths = {300, 5, 0}},
      .extra = {.topk = 8, .page_size = 4, .pages = 3, .lengths = {8, 8, 8}}};
  const auto refused = [&](auto break_it) { return refusal<Decode>(spec, break_it); };
  EXPECT_EQ(refused([](SparseCase&) {}), "");
  // The first offender of several: behind what one pass of a block's threads looks at.
  expect_part(
      refused([](SparseCase& of) {
        of.set_slot(0, 0, 1, 299, -2);
        of.set_slot(0, 1, 1, 0, 480);
      }),
      "sparse_decode: indices[0, 1, 299] = -2, allowed: -1, or a slot of the 30 pages of 16");
  expect_part(refused([](SparseCase& of) { of.set_slot(0, 1, 0, 3, 480); }),
              "indices[1, 0, 3] = 480");
  expect_part(refused([](SparseCase& of) { of.set_slot(1, 2, 1, 7, 12); }),
              "extra_indices[2, 1, 7] = 12");
  // Entries behind a length may hold anything, and the last slot and -1 are allowed.
  EXPECT_EQ(refused([](SparseCase& of) {
              of.set_slot(0, 1, 0, 5, 4711);
              of.set_slot(0, 2, 1, 0, INT32_MIN);
              of.set_slot(0, 0, 0, 0, -1);
            }),
            "");
  expect_part(refused([](SparseCase& of) { of.set_length(0, 1, 301); }),
              "topk_length[1] = 301, allowed: 0 to 300, the columns of indices");
  expect_part(refused([](SparseCase& of) { of.set_length(1, 0, -1); }),
              "extra_topk_length[0] = -1");
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

// ---- sm90: rows that lie anywhere, multiplied by the seesaw, or with operands swapped

constexpr int64_t kTwoRowTiles = attention::sm90::kSwappedRows + 4;

class Sm90Sparse : public UnderAnyConditions {};
INSTANTIATE_TEST_SUITE_P(Emulated, Sm90Sparse, ::testing::ValuesIn(kAnyConditions),
                         kNameOfConditions);

// By both, swapped operands with no more than two of their row tiles: the emulated GPU is small.
void expect_contract_of_sm90(SparseSpec spec, const Shares& shares) {
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
