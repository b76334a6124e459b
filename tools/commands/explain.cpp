// seesaw explain: which kernel a problem gets and why, what it costs, and how fast it can be.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "lab/work.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "record.hpp"
#include "roofs.hpp"
#include "schedule_report.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

struct ExplainOptions {
  Request request;
  std::string operation = dense_decode().name;
  JsonOption json;
  double peak_gflops = 0;
  double read_gbps = 0;
  bool measure = false;
};

struct Explanation {
  seesaw_dense_decode_problem problem;
  seesaw_options options;
  std::vector<KernelSupport> kernels;
  Work work;
  std::string refusal;              // of the plan; empty if there is one
  std::optional<DenseDecode> plan;  // not if refused, nor the schedule
  std::optional<ScheduleReport> schedule;
  std::optional<Roofs> roofs;
};

std::optional<Roofs> choose_roofs(const ExplainOptions& options, const Explanation& e) {
  if ((options.peak_gflops > 0) != (options.read_gbps > 0)) {
    throw bad_input({"explain", "only one of --peak-gflops and --read-gbps",
                     "needed: both, above 0", "Give the other one, or use --measure."});
  }
  if (options.peak_gflops > 0) {
    return Roofs{options.peak_gflops, options.read_gbps, "as given"};
  }
  if (!options.measure) {
    return std::nullopt;
  }
  if (e.options.device.type == SEESAW_CUDA) {
    throw bad_input({"explain", "--measure on " + device_text(e.options.device),
                     "measured here: cpu",
                     "Give --peak-gflops and --read-gbps; `seesaw bench` measures them."});
  }
  const auto workers = static_cast<int>(e.plan ? e.plan->number("num_workers") : 1);
  return roofs_for(measure_cpu_roofs(roof_threads(workers)), e.problem);
}

Explanation examine(const ExplainOptions& options, const CLI::App& command) {
  const Asked asked = resolve(options.request, command);
  Explanation e;
  e.problem = asked.problem;
  e.options = options.request.options;
  e.kernels = DenseDecode::supports(e.problem, e.options);
  e.work = work_of(e.problem, asked.seq_lens, asked.query_lens);
  try {
    e.plan.emplace(e.problem, e.options);
    const std::unique_ptr<Device> device = open_device(e.options.device);
    e.schedule = make_schedule(*device, *e.plan, asked.seq_lens);
  } catch (const Error& error) {
    if (error.status() != SEESAW_NOT_SUPPORTED) {
      throw;
    }
    e.refusal = error.what();  // explaining a refusal is this command's business
  }
  e.roofs = choose_roofs(options, e);
  return e;
}

const char* verdict(const Explanation& e, const KernelSupport& kernel) {
  if (e.plan && kernel.kernel == e.plan->kernel()) {
    return "chosen";
  }
  return kernel.supported ? "fallback" : "cannot";
}

double bound_seconds(const Explanation& e) {
  return e.work.bound_seconds(e.roofs->peak_gflops * 1e9, e.roofs->read_gbps * 1e9);
}

void print_bound(const Explanation& e) {
  const Roofs& roofs = *e.roofs;
  const bool compute = e.work.flops / roofs.peak_gflops > e.work.bytes / roofs.read_gbps;
  print_out("roofs      {:.1f} GFLOP/s ({}), {:.1f} GB/s read\n", roofs.peak_gflops,
            roofs.instruction, roofs.read_gbps);
  print_out("bound      {:.3f} ms, by {}: no kernel can be faster here\n", bound_seconds(e) * 1e3,
            compute ? "arithmetic" : "reading memory");
}

void print_text(const Explanation& e) {
  print_out("problem    {}\n", fields_text(dense_decode().problem, &e.problem));
  print_out("options    {}\n\n", fields_text(description().options, &e.options));
  Table table({"kernel", "verdict", "why not"});
  for (const KernelSupport& kernel : e.kernels) {
    table.add({kernel.kernel, verdict(e, kernel), kernel.reason});
  }
  print_out("{}\n", table.text());
  if (e.schedule) {
    print_out("{}\n", numbers_table(e.plan->details()));
    print_out("tiles      {}, the busiest worker has {} ({:.3f} times the mean)\n",
              e.schedule->total_tiles, e.schedule->busiest_tiles, e.schedule->imbalance());
    print_out("tuning     {}\n", e.plan->details().tuning);
    print_out("splits     {} of {} sequences, {} partials to combine\n",
              e.schedule->split_sequences, e.problem.batch, e.schedule->partials);
    print_out("buffers    workspace {}, schedule {}\n",
              bytes_text(static_cast<double>(e.plan->workspace_bytes())),
              bytes_text(static_cast<double>(e.plan->schedule_bytes())));
  }
  print_out("operations {:.3f} GFLOP, {} tokens\n", e.work.flops / 1e9, e.work.tokens);
  print_out("bytes      {} at least\n", bytes_text(e.work.bytes));
  print_out("intensity  {:.1f} operations a byte\n", e.work.intensity());
  if (e.roofs) {
    print_bound(e);
  } else {
    print_out("bound      unknown: give --measure, or --peak-gflops and --read-gbps\n");
  }
}

nlohmann::ordered_json to_json(const Explanation& e) {
  nlohmann::ordered_json json = {{"operation", dense_decode().name},
                                 {"problem", fields_json(dense_decode().problem, &e.problem)},
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
  if (e.schedule) {
    json.update(details_json(e.plan->details()));
    json["split_sequences"] = e.schedule->split_sequences;
    json["partials"] = e.schedule->partials;
    json["busiest_over_mean"] = e.schedule->imbalance();
  }
  if (e.roofs) {
    json["peak_gflops"] = e.roofs->peak_gflops;
    json["read_gbps"] = e.roofs->read_gbps;
    json["bound_us"] = 1e6 * bound_seconds(e);
  }
  return json;
}

void explain(const ExplainOptions& options, const CLI::App& command) {
  check_outputs({options.request.input, tuning_file(options.request.options)},
                {options.json.file()});
  const Explanation explanation = examine(options, command);
  if (options.json.wanted()) {
    emit_json(to_json(explanation), options.json.target);
  } else {
    print_text(explanation);
  }
  if (!explanation.refusal.empty()) {
    throw Failure(ExitCode::kBadInput, explanation.refusal);
  }
}

}  // namespace

void register_explain(CLI::App& app) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = app.add_subcommand(
      "explain",
      "Which kernel a problem gets, why not the others, tiles, splits, bytes, operations "
      "and the bound that the machine sets");
  add_operation_option(*command, &options->operation);
  add_request(*command, &options->request);
  command->add_flag("--measure", options->measure, "measure this CPU's roofs (a second)");
  command->add_option("--peak-gflops", options->peak_gflops, "the device's peak rate, if known");
  command->add_option("--read-gbps", options->read_gbps, "the device's read bandwidth, if known");
  add_json_option(*command, &options->json);
  command->footer(
      "Exit code 2 if no kernel can run the problem here; the reasons are shown.\n\nExamples:\n"
      "  seesaw explain --heads 128 --kv bf16 --measure\n"
      "  seesaw explain case.safetensors\n"
      "  seesaw explain --heads 16 --batch 1 --len 65536 --device cuda\n"
      "  seesaw explain --heads 128 --len 8192 --peak-gflops 743000 --read-gbps 3106");
  command->callback([options, command] { explain(*options, *command); });
}

}  // namespace seesaw::tools
