// seesaw bench: whole calls through the public API, against roofs measured in the same run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench_cases.hpp"
#include "bench_report.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "io/stop_request.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "roofs.hpp"
#include "sibling.hpp"
#include "usage.hpp"

namespace seesaw::tools {
namespace {

// What the command has lists of, in the place of a field's own flag.
constexpr const char* kBatch = "batch";
constexpr const char* kHeads = "h_q";

struct BenchOptions {
  seesaw_dense_decode_problem problem{.h_q = 128};
  seesaw_options options;
  std::string operation = dense_decode().name;
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
    threads = {options.options.num_threads > 0 ? options.options.num_threads
                                               : machine.logical_cpus};
  }
  BenchCase base;
  base.cache = options.cold ? CacheState::kCold : CacheState::kWarm;
  base.cache_size_bytes = last_level_cache_bytes(machine);
  base.seconds = options.seconds;
  base.seed = options.seed;
  base.options = options.options;
  std::vector<BenchCase> cases;
  for (const int count : threads) {
    for (const int64_t heads : options.heads) {
      for (const int64_t batch : options.batches) {
        for (const int64_t len : options.lens) {
          BenchCase item = base;
          item.problem = options.problem;
          item.problem.batch = batch;
          item.problem.h_q = heads;
          item.problem = complete(item.problem);
          item.lengths = {options.varlen ? len / 2 : len, len};
          item.options.num_threads = count;
          cases.push_back(item);
        }
      }
    }
  }
  return cases;
}

void require_a_gpu() {
  for (const DeviceInfo& row : devices()) {
    if (row.device.type == SEESAW_CUDA && !row.usable) {
      throw bad_input({"bench --device cuda", row.reason, "needed: a GPU that kernels run on",
                       "seesaw info lists what there is."});
    }
  }
}

// What seesaw_bench_gpu has under these names, or another.
constexpr std::pair<const char*, const char*> kOnGpu[] = {
    {"s_q", "--s-q"}, {"h_kv", "--h-kv"}, {"page_size", "--page-size"}, {"causal", "--causal"}};

bool is_on_gpu(const Field& field) {
  return field.name == "device" || field.name == kBatch || field.name == kHeads ||
         std::any_of(std::begin(kOnGpu), std::end(kOnGpu),
                     [&](const auto& known) { return field.name == known.first; });
}

// On a GPU the instrument of bench/gpu takes over, which has graphs, regimes and clocks: with its
// table of cases, or with the one that is described here. `command` knows which options were given.
[[noreturn]] void bench_on_gpu(const BenchOptions& options, const CLI::App& command) {
  std::vector<std::string> elsewhere = {"--threads-list", "--seconds", "--seed", "--progress"};
  for (const auto* fields : {&dense_decode().problem, &description().options}) {
    for (const Field& field : *fields) {
      if (!field.flag.empty() && !is_on_gpu(field)) {
        elsewhere.push_back(field.first_flag());
      }
    }
  }
  for (const std::string& name : elsewhere) {
    if (command.count(name) > 0) {
      throw bad_input({"bench", name + " with --device " + device_text(options.options.device),
                       "allowed there: --batch, --heads, --len, --s-q, --kv-heads, --page-size, "
                       "--causal, --varlen, --cold, --json=FILE and the options of "
                       "seesaw_bench_gpu",
                       "Leave it out."});
    }
  }
  if (options.options.device.index != 0 || options.json.target == "-") {
    throw bad_input({"bench", "another GPU than the first, or JSON to standard output",
                     "measured: the first GPU, with --json=FILE",
                     "Set CUDA_VISIBLE_DEVICES; name a file."});
  }
  std::vector<std::string> arguments = {"--commit", build_commit()};
  if (options.json.wanted()) {
    arguments.insert(arguments.end(), {"--json", options.json.target});
  }
  if (options.cold) {
    arguments.emplace_back("--cold");
  }
  const size_t given = command.count("--batch") + command.count("--heads") + command.count("--len");
  if (given > 0) {
    if (options.batches.size() != 1 || options.heads.size() != 1 || options.lens.size() != 1) {
      throw bad_input({"bench", "--batch, --heads or --len missing, or a list",
                       "allowed on a GPU: one value of each, or none for the table of cases",
                       "Give one value of each."});
    }
    const auto add = [&arguments](const char* name, int64_t value) {
      arguments.insert(arguments.end(), {name, std::to_string(value)});
    };
    arguments.emplace_back("--one");
    add("--b", options.batches[0]);
    add("--h-q", options.heads[0]);
    add("--s-k", options.lens[0]);
    const seesaw_dense_decode_problem p = complete(options.problem);
    for (const Field& field : dense_decode().problem) {
      for (const auto& [name, there] : kOnGpu) {
        if (field.name == name && !field.is_yes_or_no()) {
          add(there, get_number(field, &p));
        } else if (field.name == name && get_number(field, &p) != 0) {
          arguments.emplace_back(there);
        }
      }
    }
    if (options.varlen) {
      arguments.emplace_back("--varied");
    }
  } else {
    for (const char* name : {"--s-q", "--kv-heads", "--page-size", "--causal", "--varlen"}) {
      if (command.count(name) > 0) {
        throw bad_input({"bench", std::string(name) + " without --batch, --heads and --len",
                         "allowed on a GPU: with them, as the table of cases has its own shapes",
                         "Give them too, or leave it out."});
      }
    }
  }
  const std::vector<std::string> more = command.remaining();
  arguments.insert(arguments.end(), more.begin(), more.end());
  check_outputs({}, {options.json.file()});
  require_a_gpu();
  become(find_sibling("seesaw_bench_gpu", "bench/gpu", "seesaw bench", "SEESAW_BUILD_BENCH"),
         arguments);
}

template <typename Number>
void require_range(const char* option, Number value, Number least, Number most,
                   const char* advice) {
  if (!(value >= least && value <= most)) {  // NaN is outside too
    throw bad_input(
        {option, fmt::format("{}", value), fmt::format("allowed: {} to {}", least, most), advice});
  }
}

void require_sense(const BenchOptions& options, const CLI::App& command) {
  const std::vector<std::string> unknown = command.remaining();
  if (!unknown.empty()) {
    throw unexpected(command, "seesaw bench", unknown.front());
  }
  const std::vector<Field>& fields = description().options;
  const auto threads = std::find_if(fields.begin(), fields.end(),
                                    [](const Field& field) { return field.name == "num_threads"; });
  for (const int count : options.threads) {
    require_range("--threads-list", int64_t{count}, int64_t{1}, threads->most,
                  "Leave it out for all CPUs.");
  }
  require_range("--seconds", options.seconds, 0.0, 3600.0, "Leave it out for 0.5.");
}

// Says so if others use the machine: figures taken then are worth nothing.
void warn_if_busy(const Machine& machine, double load) {
  if (load > 0.25 * machine.logical_cpus) {
    print_note(
        "bench: load {:.1f} on {} CPUs before the start, for good figures: about 0. Stop what "
        "else runs and repeat.\n",
        load, machine.logical_cpus);
  }
}

void bench(const BenchOptions& options, const CLI::App& command) {
  if (options.options.device.type == SEESAW_CUDA) {
    bench_on_gpu(options, command);
  }
  require_sense(options, command);
  check_outputs({tuning_file(options.options)}, {options.json.file()});
  const Machine machine = describe_machine();
  const std::vector<BenchCase> cases = make_cases(options, machine);
  std::for_each(cases.begin(), cases.end(), require_plan);  // before the first second of measuring
  const double load = load_average();
  warn_if_busy(machine, load);
  const std::unique_ptr<Device> device = open_device(kCpu);
  std::map<int, CpuRoofs> roofs;
  std::vector<BenchLine> lines;
  {
    const StopRequest stop;
    Progress progress("bench", static_cast<double>(cases.size()), options.progress);
    for (size_t i = 0; i < cases.size() && !stop.wanted(); ++i) {
      const int threads = cases[i].options.num_threads;
      progress.update(static_cast<double>(i),
                      fmt::format("b {} h {} s_k {}, {} threads", cases[i].problem.batch,
                                  cases[i].problem.h_q, cases[i].lengths.max, threads));
      const int at_once = roof_threads(threads);
      if (roofs.count(at_once) == 0) {
        roofs[at_once] = measure_cpu_roofs(at_once);
      }
      const BenchResult result = measure(*device, cases[i]);
      lines.push_back({cases[i], result, roofs_for(roofs[at_once], cases[i].problem)});
    }
  }
  const size_t left_out = cases.size() - lines.size();
  if (lines.empty()) {
    throw Failure(ExitCode::kInterrupted, "bench: stopped before anything was measured");
  }
  const BenchReport report{machine, load, roofs, lines, left_out > 0};
  if (options.json.wanted()) {
    emit_json(bench_json(report), options.json.target);
  }
  if (options.json.target != "-") {
    print_out("{}", bench_text(report));
  }
  if (report.stopped_early) {
    throw Failure(ExitCode::kInterrupted,
                  fmt::format("bench: stopped early, {} cases left out", left_out));
  }
}

}  // namespace

void register_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time whole calls, schedule made once, against roofs measured in the same run");
  add_operation_option(*command, &options->operation);
  command->add_option("--batch", options->batches, "list of batches (1,8)")->delimiter(',');
  command->add_option("--heads", options->heads, "list of query heads (128,16)")->delimiter(',');
  command->add_option("--len", options->lens, "list of lengths (1024,8192)")->delimiter(',');
  command->add_option("--threads-list", options->threads, "list of thread counts (--threads)")
      ->delimiter(',');
  command->add_flag("--varlen", options->varlen,
                    "lengths drawn evenly from half of --len up to it");
  command->add_option("--seed", options->seed, "seed of all random numbers")->capture_default_str();
  command->add_option("--seconds", options->seconds, "seconds to spend on each case")
      ->capture_default_str();
  command->add_flag("--cold", options->cold,
                    "go through enough copies of the tensors that none is in the last-level cache");
  add_problem_flags(*command, &options->problem, {kBatch, kHeads});
  add_options_flags(*command, &options->options);
  command->add_flag("--progress", options->progress, kProgressHelp);
  add_json_option(*command, &options->json);
  command->allow_extras();  // of seesaw_bench_gpu
  command->footer(
      "of roof = max(operations / peak, bytes / read bandwidth) / time: 1 is this machine's "
      "limit.\n"
      "With --json=FILE the table is printed too. On a GPU seesaw_bench_gpu takes over (its "
      "options "
      "may follow): its\n"
      "table of cases, or the one of --batch, --heads and --len.\n\nExamples:\n"
      "  seesaw bench\n"
      "  seesaw bench --heads 128 --batch 1 --len 8192 --threads-list 1,2\n"
      "  seesaw bench --cold --json=result.json\n"
      "  seesaw bench --device cuda --batch 64 --heads 128 --len 8192 --no-sustained\n"
      "  seesaw bench --device cuda --json=h200.json");
  command->callback([options, command] { bench(*options, *command); });
}

}  // namespace seesaw::tools
