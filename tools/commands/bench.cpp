// seesaw bench: whole calls through the public API, against ceilings measured in the same run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench_cases.hpp"
#include "bench_report.hpp"
#include "ceilings.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "machine.hpp"
#include "output.hpp"
#include "progress.hpp"

namespace seesaw::tools {
namespace {

struct BenchOptions {
  ShapeOptions shape;
  PlaceOptions place;
  std::vector<int64_t> batches = {1, 8};
  std::vector<int64_t> heads = {128, 16};
  std::vector<int64_t> lens = {1024, 8192};
  std::vector<int> threads;
  uint64_t seed = 0;
  double seconds = 0.5;
  bool varlen = false;
  bool cold = false;
  bool progress = false;
  JsonOption json;
};

std::vector<BenchCase> make_cases(const BenchOptions& options, const Machine& machine) {
  std::vector<int> threads = options.threads;
  if (threads.empty()) {
    threads = {options.place.threads > 0 ? options.place.threads : machine.logical_cpus};
  }
  BenchCase base;
  base.cache = options.cold ? CacheState::kCold : CacheState::kWarm;
  base.cache_size_bytes = last_level_cache_bytes(machine);
  base.seconds = options.seconds;
  base.where.flags = options.shape.causal ? uint32_t{SEESAW_CAUSAL} : 0;
  apply(options.place, &base.where);
  std::vector<BenchCase> cases;
  for (const int count : threads) {
    for (const int64_t heads : options.heads) {
      for (const int64_t batch : options.batches) {
        for (const int64_t len : options.lens) {
          ShapeOptions shape = options.shape;
          shape.batch = batch;
          shape.h_q = heads;
          BenchCase item = base;
          item.shape = synthetic_shape(shape, options.seed);
          item.batch = batch;
          item.lengths = {options.varlen ? len / 2 : len, len};
          item.where.num_threads = count;
          cases.push_back(item);
        }
      }
    }
  }
  return cases;
}

void require_sense(const BenchOptions& options) {
  const auto positive = [](auto value) { return value >= 1; };
  if (parse_device(options.place.device).type != SEESAW_CPU) {
    throw bad_input({"bench", "--device " + printable(options.place.device),
                     "measured by this command: cpu", "Leave --device out."});
  }
  if (!std::all_of(options.threads.begin(), options.threads.end(), positive) ||
      !(options.seconds >= 0 && options.seconds <= 3600)) {
    throw bad_input({"bench", "--threads-list or --seconds out of range",
                     "allowed: threads of at least 1, 0 to 3600 seconds", "Mend them."});
  }
}

// Says so if others use the machine: figures taken then are worth nothing.
void warn_if_busy(const Machine& machine, double load) {
  if (load > 0.25 * machine.logical_cpus) {
    fmt::print(
        stderr,
        "bench: load {:.1f} on {} CPUs before the start, for good figures: about 0. Stop what "
        "else runs and repeat.\n",
        load, machine.logical_cpus);
  }
}

void bench(const BenchOptions& options) {
  require_sense(options);
  const Machine machine = describe_machine();
  const double load = load_average();
  warn_if_busy(machine, load);
  const std::vector<BenchCase> cases = make_cases(options, machine);
  const std::unique_ptr<Device> device = open_device(kCpu);
  std::map<int, CpuRoofs> roofs;
  std::vector<BenchLine> lines;
  {
    Progress progress("bench", static_cast<int64_t>(cases.size()), options.progress);
    for (size_t i = 0; i < cases.size(); ++i) {
      const int threads = cases[i].where.num_threads;
      progress.update(static_cast<int64_t>(i),
                      fmt::format("b {} h {} s_k {}, {} threads", cases[i].batch,
                                  cases[i].shape.h_q, cases[i].lengths.max, threads));
      if (roofs.count(threads) == 0) {
        roofs[threads] = measure_cpu_roofs(threads);
      }
      const BenchResult result = measure(*device, cases[i]);
      lines.push_back({cases[i], result, ceilings_for(roofs[threads], result.problem)});
    }
  }
  if (options.json.wanted()) {
    emit_json(bench_json({machine, load, roofs, lines}), options.json.target);
  }
  if (options.json.target != "-") {
    fmt::print("{}", bench_text({machine, load, roofs, lines}));
  }
}

}  // namespace

void register_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time whole calls, schedule made once, against ceilings measured in the same run");
  command->add_option("--batch", options->batches, "list of batches (1,8)")->delimiter(',');
  command->add_option("--heads", options->heads, "list of query heads (128,16)")->delimiter(',');
  command->add_option("--len", options->lens, "list of lengths (1024,8192)")->delimiter(',');
  command->add_option("--threads-list", options->threads, "list of thread counts (--threads)")
      ->delimiter(',');
  command->add_flag("--varlen", options->varlen,
                    "lengths drawn evenly from half of --len up to it");
  command->add_option("--seed", options->seed, "of everything random")->capture_default_str();
  command->add_option("--seconds", options->seconds, "to spend on each case's runs")
      ->capture_default_str();
  command->add_flag("--cold", options->cold,
                    "go through enough copies of the tensors that none is in the last-level cache");
  add_shape_options(*command, &options->shape);
  add_place_options(*command, &options->place);
  command->add_flag("--progress", options->progress, "report progress even without a terminal");
  add_json_option(*command, &options->json);
  command->footer(
      "of roof = max(operations / peak, bytes / read bandwidth) / time: 1 is this machine's "
      "limit.\n"
      "With --json=FILE the table is printed too.\n\nExamples:\n"
      "  seesaw bench\n"
      "  seesaw bench --heads 128 --batch 1 --len 8192 --threads-list 1,2\n"
      "  seesaw bench --cold --json=result.json");
  command->callback([options] { bench(*options); });
}

}  // namespace seesaw::tools
