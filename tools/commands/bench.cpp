// seesaw bench: whole calls through the public API, against ceilings measured in the same run.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench_cases.hpp"
#include "ceilings.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "machine.hpp"
#include "numbers.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "table.hpp"

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

struct Line {
  BenchCase item;
  BenchResult result;
  Ceilings ceilings;

  double seconds() const { return result.run_us.median * 1e-6; }
  double gflops() const { return result.figures.flops / seconds() / 1e9; }
  double gbps() const { return result.figures.bytes / seconds() / 1e9; }
  double roof_fraction() const {
    return result.figures.bound_seconds(ceilings.peak_gflops * 1e9, ceilings.read_gbps * 1e9) /
           seconds();
  }
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

void print_text(const Machine& machine, const std::map<int, CpuRoofs>& roofs,
                const std::vector<Line>& lines) {
  fmt::print("{}, {}; {}\n", machine.cpu_model, machine.os, machine.compiler);
  for (const auto& [threads, roof] : roofs) {
    fmt::print(
        "ceilings, {} threads: bf16 dot {:.1f} GFLOP/s, float multiply-add {:.1f} GFLOP/s, read "
        "{:.1f} GB/s\n",
        threads, roof.bf16_dot_gflops_all, roof.float_fma_gflops_all, roof.read_gbps_all);
  }
  Table table({"kernel", "threads", "b", "s_q", "h_q", "s_k", "q/kv", "cache", "us", "p10", "p90",
               "schedule us", "GFLOP/s", "GB/s", "of roof"});
  for (const Line& line : lines) {
    const DenseDecodeDescriptor& p = line.result.problem;
    const bool varied = line.item.lengths.min != line.item.lengths.max;
    table.add({line.result.plan.kernel, std::to_string(p.num_threads), std::to_string(p.batch),
               std::to_string(p.s_q), std::to_string(p.h_q),
               fmt::format("{}{}", line.item.lengths.max, varied ? " var" : ""),
               fmt::format("{}/{}", short_name(p.q_dtype), short_name(p.kv_dtype)),
               line.item.cache == CacheState::kCold ? "cold" : "warm",
               fmt::format("{:.1f}", line.result.run_us.median),
               fmt::format("{:.1f}", line.result.run_us.p10),
               fmt::format("{:.1f}", line.result.run_us.p90),
               fmt::format("{:.1f}", line.result.schedule_us.median),
               fmt::format("{:.1f}", line.gflops()), fmt::format("{:.1f}", line.gbps()),
               fmt::format("{:.3f}", line.roof_fraction())});
  }
  fmt::print("{}", table.text());
}

nlohmann::ordered_json to_json(const Line& line) {
  const DenseDecodeDescriptor& p = line.result.problem;
  return {{"op", "dense_decode"},
          {"kernel", line.result.plan.kernel},
          {"threads", p.num_threads},
          {"b", p.batch},
          {"s_q", p.s_q},
          {"h_q", p.h_q},
          {"h_kv", p.h_kv},
          {"d_qk", p.d_qk},
          {"d_v", p.d_v},
          {"s_k", line.item.lengths.max},
          {"varlen", line.item.lengths.min != line.item.lengths.max},
          {"tokens", line.result.figures.tokens},
          {"causal", (p.flags & SEESAW_CAUSAL) != 0},
          {"batch_invariant", (p.flags & SEESAW_BATCH_INVARIANT) != 0},
          {"dtype", contract_name(p.q_dtype)},
          {"kv_format", contract_name(p.kv_dtype)},
          {"page_size", p.page_size},
          {"l2", line.item.cache == CacheState::kCold ? "cold" : "warm"},
          {"regime", "short"},
          {"runs", line.result.runs},
          {"us", line.result.run_us.median},
          {"us_p10", line.result.run_us.p10},
          {"us_p90", line.result.run_us.p90},
          {"schedule_us", line.result.schedule_us.median},
          {"workspace_bytes", line.result.plan.workspace_bytes},
          {"tflops", line.gflops() / 1000},
          {"gbps", line.gbps()},
          {"roof_gflops", line.ceilings.peak_gflops},
          {"roof_fraction", line.roof_fraction()}};
}

nlohmann::ordered_json to_json(const Machine& machine, double load,
                               const std::map<int, CpuRoofs>& roofs,
                               const std::vector<Line>& lines) {
  nlohmann::ordered_json json = {
      {"device", machine.cpu_model},
      {"commit", build_commit()},
      {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
      {"driver", nullptr},
      {"machine",
       {{"os", machine.os},
        {"compiler", machine.compiler},
        {"cpus", machine.logical_cpus},
        {"features", machine.cpu_features},
        {"memory_bytes", machine.memory_bytes},
        {"load_average_before", load}}},
      {"roofs", to_json(roofs.rbegin()->second)}};  // with the most threads
  for (const CacheLevel& cache : machine.caches) {
    json["machine"]["cache_bytes"][cache.name] = cache.size_bytes;
  }
  for (const auto& [threads, roof] : roofs) {
    json["roofs_by_threads"].push_back(to_json(roof));
  }
  for (const Line& line : lines) {
    json["results"].push_back(to_json(line));
  }
  return json;
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
  std::vector<Line> lines;
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
    emit_json(to_json(machine, load, roofs, lines), options.json.target);
  }
  if (options.json.target != "-") {
    print_text(machine, roofs, lines);
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
