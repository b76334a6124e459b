// sparse_decode and sparse_prefill on the emulator by a core for GPUs, with the device planner and
// the combine, against the definition in double (support/sparse_contract.hpp). Slots that no list
// names are NaN.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>
#include <type_traits>

#include "attention/gpu_kernels.hpp"
#include "ops/sparse_decode/plan.hpp"
#include "ops/sparse_prefill/plan.hpp"
#include "support/query_parts.hpp"
#include "support/sparse_contract.hpp"

namespace seesaw::emulator {

using testing::SparseCase;
using testing::SparseOutputs;
using testing::SparseSpec;

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct SparseShares {
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

inline void must(const Status& status) {
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
}

// A plan for a case, and the memory of one call.
template <typename Operation>
class SparseCall {
 public:
  // parts: of the case's queries; null: they are one tensor.
  SparseCall(const SparseCase& test_case, const SparseShares& shares, bool check_data = false,
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

  static Planned planned(const SparseCase& test_case, const SparseShares& shares, bool check_data,
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
void expect_contract(const SparseCase& test_case, const SparseShares& shares = {}) {
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

inline void expect_part(const std::string& text, const std::string& part) {
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

}  // namespace seesaw::emulator
