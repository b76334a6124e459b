// seesaw bench --op sparse_decode, sparse_prefill: whole calls through the public API. Lists name
// distinct slots in random order, of a pool of many more.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "lab/sparse_call.hpp"
#include "lab/statistics.hpp"
#include "machine.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "sparse_request.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

constexpr int64_t kPoolTokens = 1 << 16;
constexpr int64_t kFewestRuns = 5;

template <typename Operation>
struct BenchSparse {
  typename Operation::Problem problem{};
  seesaw_options options;
  std::string operation = Operation::kName;
  std::vector<int64_t> batches;  // query tokens in a prefill
  std::vector<int64_t> heads = {128, 16};
  std::vector<int64_t> topks = {2048};
  uint64_t seed = 0;
  double seconds = 0.5;
  bool progress = false;
  JsonOption json;
};

struct Line {
  SparseSpec spec;
  std::string kernel;
  int32_t threads = 0;
  Work work;
  Spread run_us;
  Spread prepare_us;
  int64_t runs = 0;
  std::optional<Roofs> roofs;  // of a CPU

  double seconds() const { return run_us.median * 1e-6; }
  double roof_fraction() const {
    return work.bound_seconds(roofs->peak_gflops * 1e9, roofs->read_gbps * 1e9) / seconds();
  }
};

// The field of the problem that --batch is.
int64_t& batch_field(seesaw_sparse_decode_problem* problem) { return problem->batch; }
int64_t& batch_field(seesaw_sparse_prefill_problem* problem) { return problem->s_q; }

template <typename Side, typename Problem>
Line measure(Device& device, const Problem& problem,
             const BenchSparse<typename Side::Operation>& b) {
  using Operation = typename Side::Operation;
  const SparseCase source(spec_of(problem, kPoolTokens, b.seed));
  const PlanOf<Operation> plan(Side::problem(source), b.options);
  SparseCall<Operation> call(device, plan, problem.d_v, Side::inputs(source));
  call.prepare();
  call.run();  // pages touched, threads awake
  Line line{source.spec(),
            plan.kernel(),
            static_cast<int32_t>(plan.number("num_workers")),
            work_of(source.spec()),
            {},
            {},
            0,
            {}};
  std::vector<double> prepare_us;
  for (int64_t i = 0; i < kFewestRuns; ++i) {
    prepare_us.push_back(device.time_us([&] { call.prepare(); }));
  }
  std::vector<double> run_us;
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> elapsed{};
  while (line.runs < kFewestRuns || elapsed.count() < b.seconds) {
    run_us.push_back(device.time_us([&] { call.run(); }));
    ++line.runs;
    elapsed = std::chrono::steady_clock::now() - start;
  }
  line.prepare_us = spread_of(prepare_us);
  line.run_us = spread_of(run_us);
  return line;
}

std::string text_of(const std::vector<Line>& lines) {
  Table table({"kernel", "threads", "b", "s_q", "h_q", "topk", "extra", "q/kv", "us", "p10", "p90",
               "schedule us", "GFLOP/s", "GB/s", "of roof"});
  for (const Line& line : lines) {
    const SparseSpec& spec = line.spec;
    table.add({line.kernel, std::to_string(line.threads), std::to_string(spec.batch),
               std::to_string(spec.s_q), std::to_string(spec.h_q), std::to_string(spec.cache.topk),
               std::to_string(spec.extra.topk), dtypes_text(spec),
               fmt::format("{:.1f}", line.run_us.median), fmt::format("{:.1f}", line.run_us.p10),
               fmt::format("{:.1f}", line.run_us.p90),
               fmt::format("{:.1f}", line.prepare_us.median),
               fmt::format("{:.1f}", line.work.flops / line.seconds() / 1e9),
               fmt::format("{:.1f}", line.work.bytes / line.seconds() / 1e9),
               line.roofs ? fmt::format("{:.3f}", line.roof_fraction()) : "unknown"});
  }
  return table.text();
}

nlohmann::ordered_json json_of(const std::vector<Line>& lines, const std::string& operation,
                               const std::string& device) {
  nlohmann::ordered_json json = {
      {"device", device},
      {"commit", build_commit()},
      {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
      {"load_average_after", load_average()}};
  for (const Line& line : lines) {
    const SparseSpec& spec = line.spec;
    nlohmann::ordered_json row = {{"op", operation},
                                  {"kernel", line.kernel},
                                  {"threads", line.threads},
                                  {"b", spec.batch},
                                  {"s_q", spec.s_q},
                                  {"h_q", spec.h_q},
                                  {"topk", spec.cache.topk},
                                  {"extra_topk", spec.extra.topk},
                                  {"dtypes", dtypes_text(spec)},
                                  {"runs", line.runs},
                                  {"us", line.run_us.median},
                                  {"us_p10", line.run_us.p10},
                                  {"us_p90", line.run_us.p90},
                                  {"schedule_us", line.prepare_us.median},
                                  {"tflops", line.work.flops / line.seconds() / 1e12},
                                  {"gbps", line.work.bytes / line.seconds() / 1e9}};
    if (line.roofs) {
      row["roof_gflops"] = line.roofs->peak_gflops;
      row["roof_fraction"] = line.roof_fraction();
    }
    json["results"].push_back(row);
  }
  return json;
}

template <typename Side>
void bench(const BenchSparse<typename Side::Operation>& asked) {
  using Operation = typename Side::Operation;
  if (!(asked.seconds >= 0 && asked.seconds <= 3600)) {  // NaN is outside too
    throw bad_input({"--seconds", fmt::format("{}", asked.seconds), "allowed: 0 to 3600",
                     "Leave it out for 0.5."});
  }
  check_outputs({tuning_file(asked.options)}, {asked.json.file()});
  std::vector<typename Operation::Problem> problems;
  for (const int64_t heads : asked.heads) {
    for (const int64_t batch : asked.batches) {
      for (const int64_t topk : asked.topks) {
        typename Operation::Problem problem = asked.problem;
        problem.h_q = heads;
        problem.topk = topk;
        batch_field(&problem) = batch;
        problems.push_back(completed(Operation::kName, problem));
        PlanOf<Operation>(problems.back(), asked.options);  // before the first second of measuring
      }
    }
  }
  const std::unique_ptr<Device> device = open_device(asked.options.device);
  std::map<int, CpuRoofs> roofs;
  std::vector<Line> lines;
  {
    Progress progress("bench", static_cast<double>(problems.size()), asked.progress);
    for (size_t i = 0; i < problems.size(); ++i) {
      progress.update(static_cast<double>(i),
                      fmt::format("h {} topk {}", problems[i].h_q, problems[i].topk));
      lines.push_back(measure<Side>(*device, problems[i], asked));
      if (!device->is_host()) {
        continue;
      }
      const int threads = roof_threads(lines.back().threads);
      if (roofs.count(threads) == 0) {
        roofs[threads] = measure_cpu_roofs(threads);
      }
      seesaw_dense_decode_problem types{};
      types.q_dtype = problems[i].q_dtype;
      types.kv_format = problems[i].kv_format;
      lines.back().roofs = roofs_for(roofs[threads], types);
    }
  }
  if (asked.json.wanted()) {
    emit_json(json_of(lines, Operation::kName, device->name()), asked.json.target);
  }
  if (asked.json.target != "-") {
    print_out("{}", text_of(lines));
  }
}

template <typename Side>
void register_for(CLI::App& app, const std::vector<int64_t>& batches) {
  using Operation = typename Side::Operation;
  auto asked = std::make_shared<BenchSparse<Operation>>();
  asked->batches = batches;
  const bool prefill = asked->operation == SparsePrefillOperation::kName;
  CLI::App* command = app.add_subcommand(
      "bench", "Time whole calls, schedule made once, against roofs measured in the same run");
  add_operation_option(*command, &asked->operation);
  command
      ->add_option(prefill ? "--s-q" : "--batch", asked->batches,
                   prefill ? "list of numbers of query tokens (64)" : "list of batches (1,8)")
      ->delimiter(',');
  command->add_option("--heads", asked->heads, "list of query heads (128,16)")->delimiter(',');
  command->add_option("--topk", asked->topks, "list of lengths of lists (2048)")->delimiter(',');
  command->add_option("--seed", asked->seed, "seed of all random numbers")->capture_default_str();
  command->add_option("--seconds", asked->seconds, "seconds to spend on each case")
      ->capture_default_str();
  add_sparse_flags(*command, Operation::kName, &asked->problem,
                   {prefill ? "s_q" : "batch", "h_q", "topk"});
  add_options_flags(*command, &asked->options);
  command->add_flag("--progress", asked->progress, kProgressHelp);
  add_json_option(*command, &asked->json);
  command->footer(fmt::format(
      "of roof = max(operations / peak, bytes / read bandwidth) / time: 1 is this machine's "
      "limit.\n\nExamples:\n"
      "  seesaw bench --op {0}\n"
      "  seesaw bench --op {0} --heads 128 --topk 512,2048 --kv fp8_656 --json=result.json",
      Operation::kName));
  command->callback([asked] { bench<Side>(*asked); });
}

}  // namespace

void register_sparse_bench(CLI::App& app, const std::string& operation) {
  if (operation == SparsePrefillOperation::kName) {
    register_for<PrefillSide>(app, {64});
  } else {
    register_for<DecodeSide>(app, {1, 8});
  }
}

}  // namespace seesaw::tools
