// Dense decoding on the emulator by any of its kernels for GPUs: the library's own host
// code plans, the device planner, the attention kernel and the combine run as fibers. One call,
// with inputs of one's own or a case of the laboratory:
//
//   lab::DecodeCase test_case({.seq_lens = {200}, .h_q = 16});
//   DecodeCall call(test_case, {.num_workers = 2});
//   EXPECT_EQ(call.run(), "");       // neither the library nor the emulator complains
//   EXPECT_EQ(call.verdict(), "");   // against the double reference
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "any_conditions.hpp"
#include "lab/decode_case.hpp"
#include "lab/errors.hpp"
#include "ops/dense_decode/plan.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::emulator {

// sm90.dense_decode, sm80.dense_decode, sm90.dense_decode.rows, .three, .swapped and
// .ring.
enum class Core { kSm90, kSm80, kRows, kThree, kSwapped, kRing };

// The core of shares that do not name one; OnAnyCore sets it.
inline Core default_core = Core::kSm90;

// Tests of what every core does alike, under any conditions.
class OnAnyCore : public ::testing::TestWithParam<std::tuple<Core, Conditions>> {
 protected:
  OnAnyCore() { default_core = std::get<0>(GetParam()); }
  ~OnAnyCore() override { default_core = Core::kSm90; }

 private:
  UnderConditions here_{std::get<1>(GetParam())};
};

// INSTANTIATE_TEST_SUITE_P(Emulated, SomeTest, kAnyCore, kNameOfCore);
inline std::vector<std::tuple<Core, Conditions>> cores_and_conditions() {
  std::vector<std::tuple<Core, Conditions>> all;
  for (const Core core : {Core::kSm90, Core::kRows, Core::kThree, Core::kSwapped, Core::kRing}) {
    for (const Conditions& any : kAnyConditions) all.emplace_back(core, any);
  }
  for (const Conditions& any : kConditionsOfCopies) all.emplace_back(Core::kSm80, any);
  return all;
}
inline const auto kAnyCore = ::testing::ValuesIn(cores_and_conditions());
inline constexpr auto kNameOfCore = [](const auto& test) {
  constexpr const char* kNames[] = {"Sm90", "Sm80", "Rows", "Three", "Swapped", "Ring"};
  return kNames[static_cast<int>(std::get<0>(test.param))] + name_of(std::get<1>(test.param));
};

// How a plan shares the work out, in place of what it would choose for the emulated device.
struct Shares {
  int32_t num_workers = 1;
  int32_t fixed_split_tiles = 0;  // batch-invariant
  int32_t row_groups = 1;
  int32_t piece_cost_tiles = 0;
  Core core = default_core;
  int32_t tile_rows = kUnset;     // of sm80
  int32_t shared_bytes = kUnset;  // of sm80
  bool check_data = false;
};

class DecodeCall {
 public:
  // Of `inputs` outputs are ignored, and the rest must outlive the call. Of `gaps` those of out and
  // lse count.
  DecodeCall(const seesaw_dense_decode_problem& problem, const seesaw_dense_decode_args& inputs,
             const Shares& shares, const lab::Gaps& gaps = {});
  DecodeCall(const lab::DecodeCase& test_case, const Shares& shares)
      : DecodeCall(test_case.problem(), test_case.inputs(), shares, test_case.spec().gaps) {}

  // Poisons outputs, schedule and workspace; plans, schedules, runs. What went wrong, or "": the
  // library's message, or what the emulator found. What a kernel reports (gpu/faults.hpp) comes
  // with the next call.
  std::string run();
  // The two halves of it.
  std::string prepare();
  std::string attend();
  // attend() by the traced variant.
  std::string trace(seesaw::Trace* trace);

  // "" if all results are within the contract's bounds of the reference, else what is not.
  std::string verdict() const;
  lab::ErrorStatistics errors() const;

  const dense_decode::DenseDecodePlan& plan() const { return plan_; }
  const dense_decode::Args& args() const { return args_; }
  void* schedule() const { return schedule_->data(); }
  lab::ResultsOf<double> results() const;    // packed
  std::vector<double> max_logits() const;    // if the problem asks for them
  lab::ResultsOf<double> reference() const;  // in double

 private:
  Call call() const;
  std::string attended(const std::function<Status()>& attend);

  Core core_;
  dense_decode::DenseDecodePlan plan_;
  dense_decode::Args args_;
  std::unique_ptr<testing::GuardedBuffer> schedule_, workspace_, out_, lse_, max_logits_;
};

}  // namespace seesaw::emulator
