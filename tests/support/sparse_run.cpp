#include "support/sparse_run.hpp"

#include <gtest/gtest.h>

namespace seesaw::testing {
namespace {

template <typename Operation>
void run_call(typename Operation::Problem problem, const seesaw_options& options,
              typename Operation::Args args, const QueryParts* parts) {
  if (parts != nullptr) {
    problem = parts->problem(problem);
    args = parts->args(args);
  }
  const PlanOf<Operation> plan(problem, options);
  GuardedBuffer schedule(plan.schedule_bytes());
  GuardedBuffer workspace(plan.workspace_bytes());
  seesaw_call call;
  call.schedule = schedule.data();
  call.schedule_bytes = schedule.size();
  call.workspace = workspace.data();
  call.workspace_bytes = workspace.size();
  plan.prepare(args, call);
  plan.run(args, call);
  EXPECT_TRUE(schedule.intact() && workspace.intact());
}

}  // namespace

SparseResults run_sparse(const SparseCase& test_case, const SparseRunOptions& options) {
  const std::string kernel =
      options.kernel.empty()
          ? ""
          : options.kernel + (options.prefill ? ".sparse_prefill" : ".sparse_decode");
  const seesaw_options asked = test_case.options(kernel.c_str(), options.threads);
  SparseOutputs outputs(test_case);
  if (options.prefill) {
    run_call<SparsePrefillOperation>(test_case.prefill_problem(), asked,
                                     outputs.prefill_args(test_case), options.parts);
  } else {
    run_call<SparseDecodeOperation>(test_case.problem(), asked, outputs.decode_args(test_case),
                                    options.parts);
  }
  EXPECT_TRUE(outputs.intact());
  return outputs.results(test_case.spec());
}

void expect_sparse_contract(const SparseCase& test_case, const SparseRunOptions& options) {
  expect_within_contract(test_case, run_sparse(test_case, options), options.prefill);
}

}  // namespace seesaw::testing
