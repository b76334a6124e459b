// seesaw explain --op sparse_decode, sparse_prefill.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "lab/device/device.hpp"
#include "machine.hpp"
#include "output.hpp"
#include "record.hpp"
#include "sparse_request.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

template <typename Operation>
struct ExplainSparse {
  typename Operation::Problem problem{};
  seesaw_options options;
  std::string operation = Operation::kName;
  JsonOption json;
};

template <typename Operation>
struct Explanation {
  typename Operation::Problem problem;
  seesaw_options options;
  std::vector<KernelSupport> kernels;
  Work work;
  std::string refusal;                    // of the plan; empty if there is one
  std::optional<PlanOf<Operation>> plan;  // not if refused
};

template <typename Operation>
Explanation<Operation> examine(const ExplainSparse<Operation>& asked) {
  Explanation<Operation> e{};
  e.problem = completed(Operation::kName, asked.problem);
  e.options = asked.options;
  e.kernels = PlanOf<Operation>::supports(e.problem, e.options);
  e.work = work_of(spec_of(e.problem, 0, 0));
  try {
    e.plan.emplace(e.problem, e.options);
  } catch (const Error& error) {
    if (error.status() != SEESAW_NOT_SUPPORTED) {
      throw;
    }
    e.refusal = error.what();  // explaining a refusal is this command's business
  }
  return e;
}

template <typename Operation>
const char* verdict(const Explanation<Operation>& e, const KernelSupport& kernel) {
  if (e.plan && kernel.kernel == e.plan->kernel()) {
    return "chosen";
  }
  return kernel.supported ? "fallback" : "cannot";
}

template <typename Operation>
void print_text(const Explanation<Operation>& e) {
  print_out("problem    {}\n", fields_text(operation(Operation::kName).problem, &e.problem));
  print_out("options    {}\n\n", fields_text(description().options, &e.options));
  Table table({"kernel", "verdict", "why not"});
  for (const KernelSupport& kernel : e.kernels) {
    table.add({kernel.kernel, verdict(e, kernel), kernel.reason});
  }
  print_out("{}\n", table.text());
  if (e.plan) {
    print_out("{}\n", numbers_table(e.plan->details()));
    print_out("tuning     {}\n", e.plan->details().tuning);
    print_out("buffers    workspace {}, schedule {}\n",
              bytes_text(static_cast<double>(e.plan->workspace_bytes())),
              bytes_text(static_cast<double>(e.plan->schedule_bytes())));
  }
  print_out("operations {:.3f} GFLOP, {} tokens if every entry is one\n", e.work.flops / 1e9,
            e.work.tokens);
  print_out("bytes      {} at least\n", bytes_text(e.work.bytes));
  print_out("intensity  {:.1f} operations a byte\n", e.work.intensity());
}

template <typename Operation>
nlohmann::ordered_json to_json(const Explanation<Operation>& e) {
  nlohmann::ordered_json json = {
      {"operation", Operation::kName},
      {"problem", fields_json(operation(Operation::kName).problem, &e.problem)},
      {"options", fields_json(description().options, &e.options)},
      {"device", device_text(e.options.device)},
      {"kernel", nullptr},
      {"flops", e.work.flops},
      {"bytes", e.work.bytes},
      {"tokens", e.work.tokens},
      {"intensity", e.work.intensity()}};
  for (const KernelSupport& kernel : e.kernels) {
    json["kernels"].push_back({{"kernel", kernel.kernel},
                               {"verdict", verdict(e, kernel)},
                               {"supported", kernel.supported},
                               {"reason", kernel.reason}});
  }
  if (e.plan) {
    json.update(details_json(e.plan->details()));
  }
  return json;
}

template <typename Operation>
void explain(const ExplainSparse<Operation>& asked) {
  check_outputs({tuning_file(asked.options)}, {asked.json.file()});
  const Explanation<Operation> explanation = examine(asked);
  if (asked.json.wanted()) {
    emit_json(to_json(explanation), asked.json.target);
  } else {
    print_text(explanation);
  }
  if (!explanation.refusal.empty()) {
    throw Failure(ExitCode::kBadInput, explanation.refusal);
  }
}

template <typename Operation>
void register_for(CLI::App& app) {
  auto asked = std::make_shared<ExplainSparse<Operation>>();
  set_usual(&asked->problem);
  CLI::App* command = app.add_subcommand(
      "explain", "Which kernel a problem gets, why not the others, bytes and operations");
  add_operation_option(*command, &asked->operation);
  add_sparse_flags(*command, Operation::kName, &asked->problem);
  add_options_flags(*command, &asked->options);
  add_json_option(*command, &asked->json);
  command->footer(
      fmt::format("Exit code 2 if no kernel can run the problem here; the reasons are "
                  "shown.\n\nExamples:\n"
                  "  seesaw explain --op {0} --heads 128 --topk 2048\n"
                  "  seesaw explain --op {0} --kv fp8_656 --json",
                  Operation::kName));
  command->callback([asked] { explain(*asked); });
}

}  // namespace

void register_sparse_explain(CLI::App& app, const std::string& operation) {
  (operation == SparsePrefillOperation::kName ? register_for<SparsePrefillOperation>
                                              : register_for<SparseDecodeOperation>)(app);
}

}  // namespace seesaw::tools
