// seesaw explain: which kernel a problem gets and why, what it costs, and how fast it can be.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "error.hpp"
#include "figures.hpp"
#include "io/atomic_file.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "roofs.hpp"
#include "schedule_report.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

struct ExplainOptions {
  ShapeOptions shape;
  LengthOptions lengths;
  PlaceOptions place;
  JsonOption json;
  double peak_gflops = 0;
  double read_gbps = 0;
  bool measure = false;
};

struct Explanation {
  DenseDecodeDescriptor problem;
  std::vector<KernelSupport> kernels;
  Figures figures;
  std::string refusal;  // of the plan; empty if there is one
  seesaw_dense_decode_plan_info plan{};
  std::string tuning;  // the plan's texts, which live as long as it
  std::string tuning_key;
  std::optional<ScheduleReport> schedule;
  std::optional<Roofs> roofs;
};

std::optional<Roofs> choose_roofs(const ExplainOptions& options,
                                  const DenseDecodeDescriptor& problem, int workers) {
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
  if (problem.device.type != SEESAW_CPU) {
    throw bad_input({"explain", "--measure on " + device_text(problem.device), "measured here: cpu",
                     "Give --peak-gflops and --read-gbps; `seesaw bench` measures them."});
  }
  return roofs_for(measure_cpu_roofs(workers), problem);
}

Explanation examine(const ExplainOptions& options) {
  const std::vector<int32_t> lengths =
      make_lengths(options.lengths.rule(), options.shape.batch, options.lengths.seed);
  Explanation e;
  e.problem = describe_problem(synthetic_shape(options.shape, options.lengths.seed), lengths);
  e.problem.flags |= options.shape.causal ? uint32_t{SEESAW_CAUSAL} : 0;
  apply(options.place, &e.problem);
  e.kernels = supports(e.problem);
  e.figures = figures_of(e.problem, lengths);
  try {
    const DenseDecode decode(e.problem);
    e.plan = decode.info();
    e.tuning = e.plan.tuning;
    e.tuning_key = e.plan.tuning_key;
    const std::unique_ptr<Device> device = open_device(e.problem.device);
    e.schedule = make_schedule(*device, decode, lengths);
  } catch (const Error& error) {
    if (error.status() != SEESAW_NOT_SUPPORTED) {
      throw;
    }
    e.refusal = error.what();  // explaining a refusal is this command's business
  }
  e.roofs = choose_roofs(options, e.problem, e.plan.num_workers);
  return e;
}

const char* verdict(const Explanation& e, const KernelSupport& kernel) {
  if (e.plan.kernel != nullptr && kernel.kernel == e.plan.kernel) {
    return "chosen";
  }
  return kernel.supported ? "could, comes later" : "cannot";
}

void print_bound(const Explanation& e) {
  const Roofs& c = *e.roofs;
  const double seconds = e.figures.bound_seconds(c.peak_gflops * 1e9, c.read_gbps * 1e9);
  const bool compute = e.figures.flops / c.peak_gflops > e.figures.bytes / c.read_gbps;
  print_out("roofs      {:.1f} GFLOP/s ({}), {:.1f} GB/s read\n", c.peak_gflops, c.instruction,
            c.read_gbps);
  print_out("bound      {:.3f} ms, by {}: no kernel can be faster here\n", seconds * 1e3,
            compute ? "arithmetic" : "reading memory");
}

void print_text(const Explanation& e) {
  Table table({"kernel", "verdict", "why not"});
  for (const KernelSupport& kernel : e.kernels) {
    table.add({kernel.kernel, verdict(e, kernel), kernel.reason});
  }
  print_out("{}\n", table.text());
  if (e.schedule) {
    const auto workspace = static_cast<double>(e.plan.workspace_bytes);
    print_out("tiles      {} query rows x {} tokens\n", e.plan.tile_rows, e.plan.tile_tokens);
    print_out("workers    {}; {} tiles, the busiest has {} ({:.3f} times the mean)\n",
              e.plan.num_workers, e.schedule->total_tiles, e.schedule->busiest_tiles,
              e.schedule->imbalance());
    print_out("costs      a piece {} tiles, cutting a sequence {}\n", e.plan.piece_cost_tiles,
              e.plan.split_cost_tiles);
    print_out("tuning     {}\n", e.tuning);
    print_out("splits     {} of {} sequences, {} partials to merge\n", e.schedule->split_sequences,
              e.problem.batch, e.schedule->partials);
    print_out("buffers    workspace {}, schedule {}\n", bytes_text(workspace),
              bytes_text(static_cast<double>(e.plan.schedule_bytes)));
  }
  print_out("operations {:.3f} GFLOP, {} tokens\n", e.figures.flops / 1e9, e.figures.tokens);
  print_out("bytes      {} at least\n", bytes_text(e.figures.bytes));
  print_out("intensity  {:.1f} operations a byte\n", e.figures.intensity());
  if (e.roofs) {
    print_bound(e);
  } else {
    print_out("bound      unknown: give --measure, or --peak-gflops and --read-gbps\n");
  }
}

nlohmann::ordered_json to_json(const Explanation& e) {
  nlohmann::ordered_json json = {{"device", device_text(e.problem.device)},
                                 {"kernel", nullptr},
                                 {"flops", e.figures.flops},
                                 {"bytes", e.figures.bytes},
                                 {"tokens", e.figures.tokens},
                                 {"intensity", e.figures.intensity()}};
  for (const KernelSupport& kernel : e.kernels) {
    json["kernels"].push_back({{"kernel", kernel.kernel},
                               {"verdict", verdict(e, kernel)},
                               {"supported", kernel.supported},
                               {"reason", kernel.reason}});
  }
  if (e.schedule) {
    json["kernel"] = e.plan.kernel;
    json["tile_rows"] = e.plan.tile_rows;
    json["tile_tokens"] = e.plan.tile_tokens;
    json["num_workers"] = e.plan.num_workers;
    json["piece_cost_tiles"] = e.plan.piece_cost_tiles;
    json["split_cost_tiles"] = e.plan.split_cost_tiles;
    json["chunk_tokens"] = e.plan.chunk_tokens;
    json["tuned"] = e.plan.tuned != 0;
    json["tuning"] = e.tuning;
    json["tuning_key"] = nlohmann::ordered_json::parse(e.tuning_key);
    json["workspace_bytes"] = e.plan.workspace_bytes;
    json["schedule_bytes"] = e.plan.schedule_bytes;
    json["split_sequences"] = e.schedule->split_sequences;
    json["partials"] = e.schedule->partials;
    json["busiest_over_mean"] = e.schedule->imbalance();
  }
  if (e.roofs) {
    json["peak_gflops"] = e.roofs->peak_gflops;
    json["read_gbps"] = e.roofs->read_gbps;
    json["bound_us"] =
        1e6 * e.figures.bound_seconds(e.roofs->peak_gflops * 1e9, e.roofs->read_gbps * 1e9);
  }
  return json;
}

void explain(const ExplainOptions& options) {
  check_outputs({options.place.tuning_file()}, {options.json.file()});
  const Explanation explanation = examine(options);
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
  add_batch_and_heads(*command, &options->shape);
  add_shape_options(*command, &options->shape);
  add_length_options(*command, &options->lengths);
  add_place_options(*command, &options->place);
  command->add_flag("--measure", options->measure, "measure this CPU's roofs (a second)");
  command->add_option("--peak-gflops", options->peak_gflops, "the device's peak rate, if known");
  command->add_option("--read-gbps", options->read_gbps, "the device's read bandwidth, if known");
  add_json_option(*command, &options->json);
  command->footer(
      "Exit code 2 if no kernel can run the problem here; the reasons are shown.\n\nExamples:\n"
      "  seesaw explain --heads 128 --kv bf16 --measure\n"
      "  seesaw explain --heads 16 --batch 1 --len 65536 --device cuda\n"
      "  seesaw explain --heads 128 --len 8192 --peak-gflops 743000 --read-gbps 3106");
  command->callback([options] { explain(*options); });
}

}  // namespace seesaw::tools
