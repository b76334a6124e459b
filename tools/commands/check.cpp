// seesaw check: a grid of shapes against the reference kernel.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "check_grid.hpp"
#include "check_report.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "lab/accuracy.hpp"
#include "lab/call.hpp"
#include "lab/errors.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "reference_results.hpp"
#include "sparse_check.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kSparePages = 3;

struct CheckOptions {
  std::string operation = dense_decode().name;
  seesaw_options options{.check_data = 1};
  std::string filter;
  uint64_t seed = 0;
  bool quick = false;
  bool full = false;
  bool progress = false;
  JsonOption json;
};

// What a kernel's results are held against.
struct Truth {
  Results reference;
  Allowed allowed;
};

// Runs twice on the same schedule: the same bits are part of the contract. Values like those of
// FlashMLA's suite have to pass its check too.
ErrorStatistics run_kernel(const seesaw_dense_decode_problem& problem,
                           const seesaw_options& options, const seesaw_dense_decode_args& inputs,
                           Device& device, const Truth& truth, Values values) {
  const DenseDecode plan(problem, options);
  Call call(device, plan, problem.d_v, inputs);
  call.prepare();
  call.run();
  const std::vector<std::byte> out = call.out();
  const Results results = results_of(call, problem.q_dtype);
  const ResultShape shape = shape_of(problem, inputs);
  ErrorStatistics statistics = compare(results, truth.reference, truth.allowed, shape);
  if (values == Values::kSuite && statistics.ok()) {
    const ErrorStatistics suite =
        compare(results, truth.reference, flash_mla_suite(truth.reference, shape), shape);
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

void check_case(const CheckCase& item, const seesaw_options& wanted, Device& device,
                CheckReport* report) {
  const seesaw_dense_decode_problem& p = item.problem;
  SyntheticRules rules{.seed = item.seed, .values = item.values, .spare_pages = kSparePages};
  if (item.ragged) {
    rules.query_lens = make_query_lens({0, p.s_q}, p.batch, item.seed);
  }
  const SyntheticCase source(p, make_lengths(item.lengths, p.batch, item.seed), rules);
  const seesaw_dense_decode_problem& problem = source.problem();
  seesaw_options options = wanted;
  options.batch_invariant = wanted.batch_invariant != 0 || item.batch_invariant ? 1 : 0;
  const std::vector<std::string> kernels = kernels_to_check(
      DenseDecode::supports(problem, options), DenseDecodeOperation::kName, wanted.kernel, report);
  if (kernels.empty()) {
    return;
  }
  const SyntheticMemory memory(source);
  const seesaw_dense_decode_args inputs = memory.inputs(source);
  const Truth truth{reference_results(problem, inputs), allowed_errors(problem, inputs)};
  for (const std::string& kernel : kernels) {
    options.kernel = kernel.c_str();
    report->add(kernel, dtypes_text(problem), item.name(),
                run_kernel(problem, options, inputs, device, truth, item.values));
  }
  ++report->cases;
}

// A case of either operation.
struct Item {
  std::string name;
  std::function<void(const seesaw_options&, Device&, CheckReport*)> check;
};

std::vector<Item> items_of(const CheckOptions& options) {
  const GridSize size = options.quick  ? GridSize::kQuick
                        : options.full ? GridSize::kFull
                                       : GridSize::kNormal;
  std::vector<Item> items;
  if (options.operation == dense_decode().name) {
    for (const CheckCase& item : check_grid(size, options.seed)) {
      items.push_back(
          {item.name(), [item](const auto& wanted, Device& device, CheckReport* report) {
             check_case(item, wanted, device, report);
           }});
    }
  } else {
    const bool prefill = options.operation == SparsePrefillOperation::kName;
    for (const SparseSpec& spec : sparse_grid(prefill, size, options.seed)) {
      items.push_back({name_of(spec), [=](const auto& wanted, Device& device, CheckReport* report) {
                         (prefill ? check_sparse<PrefillSide>
                                  : check_sparse<DecodeSide>)(spec, wanted, device, report);
                       }});
    }
  }
  std::erase_if(
      items, [&](const Item& item) { return item.name.find(options.filter) == std::string::npos; });
  return items;
}

// Without another kernel than the reference, a check proves nothing unless asked for by name.
void require_rows(const CheckReport& report, size_t selected) {
  if (!report.rows.empty()) {
    return;
  }
  std::string reasons = fmt::format("{} of the grid's cases selected", selected);
  for (const auto& [reason, cases] : report.refused) {
    reasons += fmt::format("; {}", reason);
  }
  throw bad_input({"check", "no case was run (" + reasons + ")",
                   "needed: at least one kernel and one case",
                   "See `seesaw info` for kernels, and leave --filter out."});
}

void require_kernel(const std::string& of_operation, const char* name) {
  std::string known;
  for (const Kernel& kernel : operation(of_operation).kernels) {
    if (name == nullptr || kernel.name == name) {
      return;
    }
    known += (known.empty() ? "" : ", ") + kernel.name;
  }
  throw bad_input({"--kernel", printable(name) + ", which is no kernel of this build",
                   "allowed: " + known, "Leave it out for all of them."});
}

void check(const CheckOptions& options) {
  check_outputs({tuning_file(options.options)}, {options.json.file()});
  require_attention(options.operation);
  const std::vector<Item> grid = items_of(options);
  require_kernel(options.operation, options.options.kernel);
  const std::unique_ptr<Device> device = open_device(options.options.device);
  CheckReport report;
  {
    Progress progress("check", static_cast<double>(grid.size()), options.progress);
    for (size_t i = 0; i < grid.size(); ++i) {
      progress.update(static_cast<double>(i), grid[i].name);
      grid[i].check(options.options, *device, &report);
    }
  }
  require_rows(report, grid.size());
  if (options.json.wanted()) {
    emit_json(report_json(report, device_text(options.options.device)), options.json.target);
  }
  if (options.json.target != "-") {
    print_out("{}", report_text(report));
  }
  if (!report.failures.empty()) {
    throw Failure(ExitCode::kCheckFailed, fmt::format("check: {} of {} runs out of bound",
                                                      report.failures.size(), report.cases));
  }
}

}  // namespace

void register_check(CLI::App& app) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* command = app.add_subcommand(
      "check",
      "Run a grid of shapes on every kernel here and compare with the reference, in double "
      "precision; exit code 1 if an error is out of bound");
  auto* quick =
      command->add_flag("--quick", options->quick, "only one dimension varied at a time: seconds");
  command->add_flag("--full", options->full, "everything: many minutes")->excludes(quick);
  add_operation_option(*command, &options->operation);
  add_options_flags(*command, &options->options);
  command->add_option("--filter", options->filter,
                      "only cases whose name holds this text, e.g. \"hq128\" or \"causal\"");
  command->add_option("--seed", options->seed, "seed of the values and of the random combinations")
      ->capture_default_str();
  command->add_flag("--progress", options->progress, kProgressHelp);
  add_json_option(*command, &options->json);
  command->footer(
      "Unused cache slots and outputs are filled with NaN first, unused block-table entries with "
      "-1; lists of sparse operations name slots twice, and no slots between them.\n\nExamples:\n"
      "  seesaw check --quick\n"
      "  seesaw check --kernel cpu.dense_decode --filter \"bf16 causal\"\n"
      "  seesaw check --op sparse_decode --quick\n"
      "  seesaw check --full --seed 7 --json=errors.json");
  command->callback([options] { check(*options); });
}

}  // namespace seesaw::tools
