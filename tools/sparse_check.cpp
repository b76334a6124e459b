#include "sparse_check.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "lab/accuracy.hpp"
#include "lab/elements.hpp"
#include "lab/sparse_call.hpp"
#include "reference_results.hpp"

namespace seesaw::tools {
namespace {

struct SparseResults {
  Results results;
  std::vector<float> max_logits;
};

// What a kernel's results are held against.
struct Truth {
  SparseResults reference;
  Allowed allowed;
  ResultShape shape;
};

template <typename Operation>
SparseResults results_of(SparseCall<Operation>& call, int32_t dtype) {
  const std::vector<std::byte> out = call.out();
  return {{widened(out.data(), dtype, out.size() / size_of(dtype)), call.lse()}, call.max_logits()};
}

// The reference kernel's results, with the query widened to float32, so that they are not rounded
// to 16 bits.
template <typename Side>
SparseResults reference_of(const SparseCase& source) {
  using Operation = typename Side::Operation;
  auto problem = Side::problem(source);
  auto inputs = Side::inputs(source);
  const std::vector<float> q = widened(inputs.q.data, inputs.q.dtype, element_count(inputs.q));
  inputs.q.data = const_cast<float*>(q.data());
  inputs.q.dtype = SEESAW_FLOAT32;
  problem.q_dtype = SEESAW_FLOAT32;
  const PlanOf<Operation> plan(problem, {.kernel = reference_kernel(Operation::kName)});
  const std::unique_ptr<Device> cpu = open_device(kCpu);
  SparseCall<Operation> call(*cpu, plan, problem.d_v, inputs);
  call.prepare();
  call.run();
  return results_of(call, SEESAW_FLOAT32);
}

// The largest scores are not among what compare() looks at.
void compare_max_logits(const std::vector<float>& mine, const Truth& truth,
                        ErrorStatistics* statistics) {
  for (size_t i = 0; i < mine.size(); ++i) {
    const auto got = static_cast<double>(mine[i]);
    const auto reference = static_cast<double>(truth.reference.max_logits[i]);
    if (!(of_bound(got, reference, truth.allowed.max_logits[i]) <= 1)) {
      ++statistics->bad_lse;
      statistics->worst =
          fmt::format("max_logits, number {} = {}, reference {}", i, got, reference);
    }
  }
}

// Runs twice on the same schedule: the same bits are part of the contract.
template <typename Side>
ErrorStatistics run_kernel(const SparseCase& source, const seesaw_options& options, Device& device,
                           const Truth& truth) {
  using Operation = typename Side::Operation;
  const auto problem = Side::problem(source);
  const PlanOf<Operation> plan(problem, options);
  SparseCall<Operation> call(device, plan, problem.d_v, Side::inputs(source));
  call.prepare();
  call.run();
  const std::vector<std::byte> out = call.out();
  const SparseResults mine = results_of(call, problem.q_dtype);
  ErrorStatistics statistics =
      compare(mine.results, truth.reference.results, truth.allowed, truth.shape);
  compare_max_logits(mine.max_logits, truth, &statistics);
  if (source.spec().values == Values::kSuite && statistics.ok()) {
    const Results& reference = truth.reference.results;
    const ErrorStatistics suite =
        compare(mine.results, reference, flash_mla_suite(reference, truth.shape), truth.shape);
    statistics.cosine_ok = suite.ok();
    statistics.worst = suite.ok() ? "" : "by the check of FlashMLA's suite: " + suite.worst;
  }
  call.run();
  if (call.out() != out) {
    statistics.worst = "a second run gave other bits";
    statistics.repeats = false;
  }
  return statistics;
}

}  // namespace

template <typename Side>
void check_sparse(const SparseSpec& spec, const seesaw_options& wanted, Device& device,
                  CheckReport* report) {
  using Operation = typename Side::Operation;
  const SparseCase source(spec);
  const auto problem = Side::problem(source);
  seesaw_options options = wanted;
  options.batch_invariant = wanted.batch_invariant != 0 || spec.batch_invariant ? 1 : 0;
  options.check_data = 0;  // lists name strangers, which it refuses
  const std::vector<std::string> kernels = kernels_to_check(
      PlanOf<Operation>::supports(problem, options), Operation::kName, wanted.kernel, report);
  if (kernels.empty()) {
    return;
  }
  Truth truth{reference_of<Side>(source), {}, {spec.s_q, spec.h_q, spec.d_v}};
  truth.allowed = allowed_errors(sparse_inputs(problem, Side::inputs(source)));
  for (const std::string& kernel : kernels) {
    options.kernel = kernel.c_str();
    report->add(kernel, dtypes_text(spec), name_of(spec),
                run_kernel<Side>(source, options, device, truth));
  }
  ++report->cases;
}

template void check_sparse<DecodeSide>(const SparseSpec&, const seesaw_options&, Device&,
                                       CheckReport*);
template void check_sparse<PrefillSide>(const SparseSpec&, const seesaw_options&, Device&,
                                        CheckReport*);

}  // namespace seesaw::tools
