// seesaw check: a grid of shapes against the reference kernel.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "call.hpp"
#include "check_grid.hpp"
#include "check_report.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "errors.hpp"
#include "io/atomic_file.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "reference_results.hpp"

namespace seesaw::tools {
namespace {

struct CheckOptions {
  std::string device = "cpu";
  std::string kernel;
  std::string filter;
  int32_t threads = 0;
  uint64_t seed = 0;
  bool quick = false;
  bool full = false;
  bool progress = false;
  JsonOption json;
};

// A case's tensors in memory, and the arguments that all its runs share.
struct Materialised {
  explicit Materialised(const CheckCase& item)
      : source(item.shape, make_lengths(item.lengths, item.batch, item.shape.seed)),
        q(source.q_bytes()),
        cache(source.cache_bytes()),
        descriptor(source.descriptor()) {
    source.fill_q(q.data());
    source.fill_cache(cache.data());
    descriptor.flags = item.flags | SEESAW_CHECK_DATA;
  }

  HostTensors tensors(const void* query) const {
    const double scale = 1 / std::sqrt(static_cast<double>(source.shape().d_qk));
    return {query,
            cache.data(),
            source.num_pages(),
            source.block_table().data(),
            source.seq_lens().data(),
            static_cast<float>(scale)};
  }

  SyntheticCase source;
  AlignedBuffer q;
  AlignedBuffer cache;
  DenseDecodeDescriptor descriptor;
};

// Runs twice on the same schedule: the same bits are part of the contract.
ErrorStatistics run_kernel(const Materialised& item, const DenseDecodeDescriptor& problem,
                           Device& device, const Results& reference) {
  const DenseDecode plan(problem);
  Call call(device, problem, plan, item.tensors(item.q.data()));
  call.schedule();
  call.run();
  const std::vector<std::byte> out = call.out();
  ErrorStatistics statistics = compare(results_of(call, problem.q_dtype), reference);
  call.run();
  if (call.out() != out) {
    statistics.worst = "a second run gave other bits";
    statistics.repeats = false;
  }
  return statistics;
}

void check_case(const CheckCase& item, const CheckOptions& options, Device& device,
                CheckReport* report) {
  const Materialised material(item);
  DenseDecodeDescriptor problem = material.descriptor;
  problem.device = device.id();
  problem.num_threads = options.threads;
  std::vector<std::string> kernels;
  for (const KernelSupport& answer : supports(problem)) {
    const bool wanted =
        options.kernel.empty() ? answer.kernel != kReference : answer.kernel == options.kernel;
    if (wanted && answer.supported) {
      kernels.push_back(answer.kernel);
    } else if (wanted) {
      ++report->refused[answer.kernel + ": " + answer.reason];
    }
  }
  if (kernels.empty()) {
    return;
  }
  const Results reference =
      reference_results(material.descriptor, material.tensors(material.q.data()));
  for (const std::string& kernel : kernels) {
    problem.kernel = kernel;
    const ErrorStatistics errors = run_kernel(material, problem, device, reference);
    std::string format = short_name(problem.q_dtype);
    format +=
        problem.q_dtype == problem.kv_dtype ? "" : fmt::format("/{}", short_name(problem.kv_dtype));
    CheckRow& row = report->rows[{kernel, format}];
    ++row.cases;
    row.errors.merge(errors);
    if (!errors.ok()) {
      ++row.failed;
      report->failures.emplace_back(kernel + " " + item.name(), errors.worst);
    }
  }
  ++report->cases;
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

void require_kernel(const std::string& name) {
  std::string known;
  for (const KernelSupport& kernel : supports(DenseDecodeDescriptor())) {
    if (name.empty() || kernel.kernel == name) {
      return;
    }
    known += (known.empty() ? "" : ", ") + kernel.kernel;
  }
  throw bad_input({"--kernel", printable(name) + ", which is no kernel of this build",
                   "allowed: " + known, "Leave it out for all of them."});
}

void check(const CheckOptions& options) {
  check_outputs({}, {options.json.file()});
  const GridSize size = options.quick  ? GridSize::kQuick
                        : options.full ? GridSize::kFull
                                       : GridSize::kNormal;
  std::vector<CheckCase> grid = check_grid(size, options.seed);
  std::erase_if(grid, [&](const CheckCase& item) {
    return item.name().find(options.filter) == std::string::npos;
  });
  require_kernel(options.kernel);
  const std::unique_ptr<Device> device = open_device(parse_device(options.device));
  CheckReport report;
  {
    Progress progress("check", static_cast<int64_t>(grid.size()), options.progress);
    for (size_t i = 0; i < grid.size(); ++i) {
      progress.update(static_cast<int64_t>(i), grid[i].name());
      check_case(grid[i], options, *device, &report);
    }
  }
  require_rows(report, grid.size());
  if (options.json.wanted()) {
    emit_json(report_json(report, options.device), options.json.target);
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
  auto* quick = command->add_flag("--quick", options->quick, "the axes only, seconds");
  command->add_flag("--full", options->full, "everything, many minutes")->excludes(quick);
  command->add_option("--device", options->device, "cpu, cuda or cuda:N")->capture_default_str();
  command->add_option("--kernel", options->kernel, "only this kernel (see `seesaw info`)");
  command->add_option("--filter", options->filter,
                      "only cases whose name holds this text, e.g. \"hq128\" or \"causal\"");
  command->add_option("--seed", options->seed, "of the values and of the random combinations")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "CPU threads, 0 = all")->capture_default_str();
  command->add_flag("--progress", options->progress, "report progress even without a terminal");
  add_json_option(*command, &options->json);
  command->footer(
      "Unused cache slots and outputs are filled with NaN first, unused block-table entries with "
      "-1.\n\nExamples:\n"
      "  seesaw check --quick\n"
      "  seesaw check --kernel cpu.dense_decode --filter \"bf16 causal\"\n"
      "  seesaw check --full --seed 7 --json=errors.json");
  command->callback([options] { check(*options); });
}

}  // namespace seesaw::tools
