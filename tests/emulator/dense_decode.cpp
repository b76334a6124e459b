#include "dense_decode.hpp"

#include <cuda_runtime_api.h>

#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "attention/device/run.hpp"
#include "attention/gpu_kernels.hpp"
#include "gpu/check_data.hpp"
#include "lab/accuracy.hpp"
#include "lab/elements.hpp"
#include "ops/dense_decode/attention.hpp"
#include "ops/dense_decode/exact.hpp"
#include "ops/dense_decode/operation.hpp"
#include "ops/dense_decode/sm90/dense_decode.hpp"
#include "ops/dense_decode/sm90/launch.hpp"
#include "ops/dense_decode/sm90/three/three.hpp"
#include "support/strided.hpp"

namespace seesaw::emulator {
namespace {

using dense_decode::DenseDecodePlan;
using dense_decode::DenseDecodeProblem;
using Sm80 = attention::Sm80Kernel<DenseDecodePlan, dense_decode::Args>;
using Rows = attention::Sm90Kernel<DenseDecodePlan, dense_decode::Args>;
using Swapped = attention::Sm90SwappedKernel<DenseDecodePlan, dense_decode::Args>;
using Ring = attention::Sm90RingKernel<DenseDecodePlan, dense_decode::Args>;
namespace sm90 = dense_decode::sm90;

// A core's functions.
struct Functions {
  Support (*supports)(const DenseDecodeProblem&, const Options&);
  Status (*plan)(const DenseDecodeProblem&, const Options&, KnobValues, DenseDecodePlan*);
  Status (*prepare)(const DenseDecodePlan&, const dense_decode::Args&, const Call&);
  Status (*run)(const DenseDecodePlan&, const dense_decode::Args&, const Call&);
  Status (*trace)(const DenseDecodePlan&, const dense_decode::Args&, const Call&, Trace*);
};
const Functions& functions_of(Core core) {
  static constexpr Functions kSm90 = {sm90::supports, sm90::plan, sm90::prepare, sm90::run,
                                      sm90::trace};
  static constexpr Functions kSm80 = {Sm80::supports, Sm80::plan, Sm80::prepare, Sm80::run,
                                      Sm80::trace};
  static constexpr Functions kRows = {Rows::supports, Rows::plan, Rows::prepare, Rows::run,
                                      Rows::trace};
  static constexpr Functions kThree = {sm90::three::supports, sm90::plan, sm90::prepare,
                                       sm90::three::run, sm90::three::trace};
  static constexpr Functions kSwapped = {Swapped::supports, Swapped::plan, Swapped::prepare,
                                         Swapped::run, Swapped::trace};
  static constexpr Functions kRing = {Ring::supports, Ring::plan, Ring::prepare, Ring::run,
                                      Ring::trace};
  switch (core) {
    case Core::kSm90:
      return kSm90;
    case Core::kSm80:
      return kSm80;
    case Core::kRows:
      return kRows;
    case Core::kThree:
      return kThree;
    case Core::kSwapped:
      return kSwapped;
    case Core::kRing:
      break;
  }
  return kRing;
}

void must(const Status& status) {
  if (!status.ok()) throw std::invalid_argument(status.message());
}

DenseDecodePlan make_plan(const seesaw_dense_decode_problem& problem, const Shares& shares) {
  DenseDecodeProblem completed;
  static_cast<seesaw_dense_decode_problem&>(completed) = problem;
  must(dense_decode::complete(&completed));
  Options options;
  options.device = {SEESAW_CUDA, 0};
  options.check_data = shares.check_data;
  if (shares.core == Core::kSwapped) options.kernel = "sm90.dense_decode.swapped";
  if (shares.core == Core::kRing) options.kernel = "sm90.dense_decode.ring";
  const Functions& functions = functions_of(shares.core);
  const Support support = functions.supports(completed, options);
  if (!support.supported) throw std::invalid_argument(support.reason);
  std::array<int32_t, attention::sm80::kKnobCount> knobs;
  knobs.fill(kUnset);
  if (shares.core == Core::kSm80) {
    knobs[attention::sm80::kTileRowsKnob] = shares.tile_rows;
    knobs[attention::sm80::kSharedBytesKnob] = shares.shared_bytes;
  }
  DenseDecodePlan plan;
  must(functions.plan(completed, options, knobs, &plan));
  plan.split.num_workers = shares.num_workers;
  plan.split.fixed_split_tiles = shares.fixed_split_tiles;
  plan.split.row_groups = shares.row_groups;
  plan.split.piece_cost_tiles = shares.piece_cost_tiles;
  plan.split.split_cost_tiles = 0;
  plan.schedule_bytes = split::schedule_bytes(plan.split);
  const uint64_t to_check = shares.check_data ? gpu::check_bytes(plan.split) : 0;
  plan.workspace_bytes = shares.core == Core::kSm90 || shares.core == Core::kThree
                             ? sm90::geometry_of(plan).partials.size_bytes() + to_check
                             : attention::device::workspace_bytes(plan);
  return plan;
}

// Strides of a tensor whose rows have gaps behind them.
void set_strides(int64_t gap, seesaw_tensor* tensor) {
  const int last = tensor->rank - 1;
  tensor->stride[last] = 1;
  for (int i = last - 1; i >= 0; --i) {
    tensor->stride[i] = tensor->shape[i + 1] * tensor->stride[i + 1] + (i == last - 1 ? gap : 0);
  }
}

// The same of a tensor that lies in memory with its last two dimensions swapped.
void set_swapped_strides(int64_t gap, seesaw_tensor* tensor) {
  const int last = tensor->rank - 1;
  std::swap(tensor->shape[last - 1], tensor->shape[last]);
  set_strides(gap, tensor);
  std::swap(tensor->shape[last - 1], tensor->shape[last]);
  std::swap(tensor->stride[last - 1], tensor->stride[last]);
}

size_t bytes_of(const seesaw_tensor& tensor) {
  return static_cast<size_t>(testing::memory_elements(tensor)) * lab::size_of(tensor.dtype);
}

// The elements. What is between them must still be poison.
std::vector<double> gather(const seesaw_tensor& tensor) {
  const auto load = [&](int64_t place) {
    return static_cast<double>(
        lab::load_element(tensor.data, tensor.dtype, static_cast<size_t>(place)));
  };
  for (const int64_t gap : testing::gaps_of(tensor)) {
    if (!std::isnan(load(gap))) throw std::logic_error("a gap between rows was written");
  }
  std::vector<double> values;
  for (const int64_t place : testing::places_of(tensor)) values.push_back(load(place));
  return values;
}

// What `status` says, and else what a launch that nobody has waited for yet ends in.
std::string outcome(const Status& status) {
  const cudaError_t error = cudaStreamSynchronize(nullptr);
  if (!status.ok()) return status.message();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

}  // namespace

DecodeCall::DecodeCall(const seesaw_dense_decode_problem& problem,
                       const seesaw_dense_decode_args& inputs, const Shares& shares,
                       const lab::Gaps& gaps)
    : core_(shares.core), plan_(make_plan(problem, shares)), args_(inputs) {
  const DenseDecodeProblem& p = plan_.problem;
  const int64_t b = dense_decode::batch_of(args_);
  args_.out = {.shape = {b, p.s_q, p.h_q, p.d_v}, .rank = 4, .dtype = p.q_dtype};
  args_.lse = {.shape = {b, p.h_q, p.s_q}, .rank = 3, .dtype = SEESAW_FLOAT32};
  if (p.ragged != 0) {
    const int64_t total = args_.q.shape[0];
    args_.out = {.shape = {total, p.h_q, p.d_v}, .rank = 3, .dtype = p.q_dtype};
    args_.lse = {.shape = {p.h_q, total}, .rank = 2, .dtype = SEESAW_FLOAT32};
  }
  set_strides(gaps.out, &args_.out);
  (gaps.tokens_first ? set_swapped_strides : set_strides)(gaps.lse, &args_.lse);
  args_.max_logits = args_.lse;
  out_ = std::make_unique<testing::GuardedBuffer>(bytes_of(args_.out));
  lse_ = std::make_unique<testing::GuardedBuffer>(bytes_of(args_.lse));
  max_logits_ =
      std::make_unique<testing::GuardedBuffer>(p.max_logits != 0 ? bytes_of(args_.lse) : 0);
  schedule_ = std::make_unique<testing::GuardedBuffer>(plan_.schedule_bytes);
  workspace_ = std::make_unique<testing::GuardedBuffer>(plan_.workspace_bytes);
  args_.out.data = out_->data();
  args_.lse.data = lse_->data();
  args_.max_logits.data = p.max_logits != 0 ? max_logits_->data() : nullptr;
}

Call DecodeCall::call() const {
  Call call{};
  call.schedule = schedule_->data();
  call.schedule_bytes = schedule_->size();
  call.workspace = workspace_->data();
  call.workspace_bytes = workspace_->size();
  return call;
}

std::string DecodeCall::prepare() {
  schedule_->poison();
  return outcome(functions_of(core_).prepare(plan_, args_, call()));
}

std::string DecodeCall::attend() {
  return attended([&] { return functions_of(core_).run(plan_, args_, call()); });
}

std::string DecodeCall::trace(seesaw::Trace* trace) {
  return attended([&] { return functions_of(core_).trace(plan_, args_, call(), trace); });
}

std::string DecodeCall::attended(const std::function<Status()>& attend) {
  out_->poison();
  lse_->poison();
  max_logits_->poison();
  workspace_->poison();
  const std::string found = outcome(attend());
  const bool intact = out_->intact() && lse_->intact() && max_logits_->intact() &&
                      schedule_->intact() && workspace_->intact();
  return !found.empty() ? found : intact ? "" : "memory next to a buffer was written";
}

std::string DecodeCall::run() {
  const std::string found = prepare();
  return found.empty() ? attend() : found;
}

lab::ResultsOf<double> DecodeCall::results() const {
  return {gather(args_.out), gather(args_.lse)};
}

std::vector<double> DecodeCall::max_logits() const { return gather(args_.max_logits); }

lab::ResultsOf<double> DecodeCall::reference() const {
  const DenseDecodeProblem& p = plan_.problem;
  const int64_t tokens = p.ragged != 0 ? args_.q.shape[0] : dense_decode::batch_of(args_) * p.s_q;
  const auto rows = static_cast<size_t>(tokens * p.h_q);
  lab::ResultsOf<double> exact;
  exact.out.resize(rows * static_cast<size_t>(p.d_v));
  exact.lse.resize(rows);
  dense_decode::dense_decode_exact(p, args_, 1, {exact.out.data(), exact.lse.data()});
  return exact;
}

lab::ErrorStatistics DecodeCall::errors() const {
  const DenseDecodeProblem& p = plan_.problem;
  return lab::compare<double>(results(), reference(), lab::allowed_errors(p, args_),
                              {p.s_q, p.h_q, p.d_v});
}

std::string DecodeCall::verdict() const {
  const lab::ErrorStatistics found = errors();
  if (!found.ok()) return found.text();
  if (args_.max_logits.data == nullptr) return "";
  // Scores are sums of d_qk products, rounded to float.
  const std::vector<double> got = max_logits();
  std::vector<double> exact(got.size());
  lab::ResultsOf<double> unused = reference();
  dense_decode::dense_decode_exact(plan_.problem, args_, 1,
                                   {unused.out.data(), unused.lse.data(), exact.data()});
  for (size_t i = 0; i < got.size(); ++i) {
    if (lab::of_bound(got[i], exact[i], 1e-5 + 1e-5 * std::fabs(exact[i])) > 1) {
      return "max_logits " + std::to_string(i) + " = " + std::to_string(got[i]) + ", reference " +
             std::to_string(exact[i]);
    }
  }
  return "";
}

}  // namespace seesaw::emulator
