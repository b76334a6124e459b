// seesaw_bench_gpu: times dense decoding on the first GPU. See README.md beside this file.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>

#include "host_time.hpp"
#include "query_rows.hpp"
#include "report.hpp"

namespace seesaw::bench {
namespace {

struct Options {
  std::vector<std::string> filters;  // parts of cases' names; none: all of the table
  std::string json;
  std::string commit = "unknown";
  bool burst = true;
  bool short_runs = true;
  bool cold = true;
  bool sustained = true;
  bool apart = true;
  bool quick = false;  // a shorter idle gap and window, for tuning
  int64_t pool_mib = 5120;
  bool host_time = false;   // instead of all that, what a call costs the host
  bool query_rows = false;  // instead of all that, what one more query token costs
  bool every_row = false;   // at every number of query tokens
  bool one = false;         // the case given by the options below instead of the table's
  DecodeCase one_case;
};

constexpr double kReplayUs = 2000.0;  // aim for the length of a replay
constexpr int kMostCalls = 400;
constexpr int kBurstCalls = 10;                // at least, in a burst
constexpr int64_t kRotationBytes = 256 << 20;  // over four times the L2 of any Hopper card

class Bench {
 public:
  Bench(const Options& options, const Pool& pool, const Nvml& nvml, cudaStream_t stream)
      : options_(options), pool_(pool), nvml_(nvml), stream_(stream) {}

  Result measure(const DecodeCase& c, bool cold) const {
    const DecodeRun run(c, pool_, cold ? kRotationBytes : 0, stream_);
    Result result{.decode_case = c, .kernel = run.decode().kernel()};
    result.l2 = cold ? "cold" : "warm";
    run.schedule();
    const auto call = [&](int i) { run.run(i); };
    const CallGraph graph = with_calls(run, call);
    result.call = time_graph(graph, short_regime(), nvml_);
    if (options_.apart && !cold) {
      time_apart(run, graph.calls(), &result);
    }
    return result;
  }

  Result measure_burst(const DecodeCase& c) const {
    const DecodeRun run(c, pool_, 0, stream_);
    Result result{.decode_case = c, .kernel = run.decode().kernel()};
    result.regime = kBurst;
    run.schedule();
    result.call = time_bursts(with_calls(
                                  run, [&](int i) { run.run(i); }, kBurstCalls),
                              nvml_);
    return result;
  }

  Result measure_sustained(const DecodeCase& c) const {
    const DecodeRun run(c, pool_, 0, stream_);
    Result result{.decode_case = c, .kernel = run.decode().kernel()};
    result.regime = kSustained.name;
    run.schedule();
    const CallGraph graph = with_calls(run, [&](int i) { run.run(i); });
    result.call = time_graph(graph, kSustained, nvml_);
    return result;
  }

 private:
  Regime short_regime() const {
    return options_.quick ? Regime{kShort.name, 30.0, 5.0, 40.0} : kShort;
  }

  // A graph of so many calls that a replay lasts a few milliseconds and the pages come round.
  CallGraph with_calls(const DecodeRun& run, const std::function<void(int)>& call,
                       int fewest = 1) const {
    const double us = probe_us(CallGraph(stream_, std::max(4, run.rotation()), call));
    const int calls = std::clamp(static_cast<int>(std::lround(kReplayUs / us)), fewest, kMostCalls);
    return CallGraph(stream_, std::max(calls, run.rotation()), call);
  }

  void time_apart(const DecodeRun& run, int calls, Result* result) const {
    const Regime regime = {"apart", 20.0, 5.0, 30.0};
    const CallGraph whole(stream_, calls, [&](int i) {
      run.schedule();
      run.run(i);
    });
    result->us_with_schedule = time_graph(whole, regime, nvml_).us;
    const CallGraph once(stream_, 1, [&](int i) {
      run.schedule();
      run.run(i);
    });
    const std::vector<cudaGraphNode_t> kernels = once.kernels();
    double* const places[] = {&result->us_schedule, &result->us_attention, &result->us_combine};
    for (size_t i = 0; i < std::min(kernels.size(), std::size(places)); ++i) {
      *places[i] = time_graph(CallGraph(stream_, calls, kernels[i]), regime, nvml_).us;
    }
  }

  const Options& options_;
  const Pool& pool_;
  const Nvml& nvml_;
  cudaStream_t stream_;
};

std::string utc_date() {
  const std::time_t now = std::time(nullptr);
  char text[32] = {};
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

Machine describe_machine(const Options& options, const Nvml& nvml) {
  cudaDeviceProp device;
  must(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
  return {.device = device.name,
          .driver = nvml.driver_version(),
          .commit = options.commit,
          .date = utc_date(),
          .power_limit_w = nvml.power_limit_w(),
          .num_sms = device.multiProcessorCount};
}

std::vector<DecodeCase> chosen_cases(const Options& options) {
  if (options.one) {
    return {options.one_case};
  }
  std::vector<DecodeCase> cases = table_cases();
  std::erase_if(cases, [&](const DecodeCase& c) {
    return !options.filters.empty() &&
           std::none_of(options.filters.begin(), options.filters.end(), [&](const std::string& f) {
             return c.name().find(f) != std::string::npos;
           });
  });
  return cases;
}

int run_host_time(const Options& options, const Machine& machine, const Pool& pool,
                  cudaStream_t stream) {
  // Cut sequences and whole ones, few and many, queries by TMA and row by row (96 heads).
  const DecodeCase kCases[] = {{.b = 1, .s_k = 8192},
                               {.b = 16, .h_q = 16, .s_k = 1024},
                               {.b = 16, .h_q = 96, .s_k = 1024},
                               {.b = 66, .s_k = 1024}};
  std::vector<HostTime> times;
  for (const DecodeCase& c : kCases) {
    times.push_back(measure_host_time(c, pool, stream));
  }
  print_host_time(times);
  if (!options.json.empty()) {
    write_host_time(options.json, machine, times);
  }
  return 0;
}

int run_bench(const Options& options) {
  must(cudaSetDevice(0), "cudaSetDevice");
  const Nvml nvml;
  const Stream stream;
  const Pool pool(options.pool_mib << 20, stream.get());
  const Machine machine = describe_machine(options, nvml);
  if (options.query_rows) {
    DecodeCase like = options.one_case;
    if (!options.one) like = {.b = 1, .s_k = 8192};
    const std::vector<QueryRowsTime> times =
        measure_query_rows(like, query_row_points(options.every_row), pool, nvml, stream.get());
    print_query_rows(times);
    if (!options.json.empty()) write_query_rows(options.json, machine, times);
    return 0;
  }
  if (options.host_time) {
    return run_host_time(options, machine, pool, stream.get());
  }
  const Roofs roofs = measure_roofs({.pool = pool.data(),
                                     .pool_bytes = pool.bytes(),
                                     .num_sms = machine.num_sms,
                                     .sustained = options.sustained,
                                     .stream = stream.get()},
                                    nvml);
  print_roofs(machine, roofs);
  print_header();
  const Bench bench(options, pool, nvml, stream.get());
  std::vector<Result> results;
  const auto keep = [&](const Result& result) {
    print_result(result, roofs);
    results.push_back(result);
  };
  const std::vector<DecodeCase> cases = chosen_cases(options);
  for (const DecodeCase& c : cases) {
    if (options.burst) {
      keep(bench.measure_burst(c));
    }
    if (options.short_runs) {
      keep(bench.measure(c, false));
    }
  }
  for (const DecodeCase& c : cases) {
    if (options.cold) {
      keep(bench.measure(c, true));
    }
  }
  for (const DecodeCase& c : cases) {
    if (options.sustained && c.sustained) {
      keep(bench.measure_sustained(c));
    }
  }
  if (!options.json.empty()) {
    write_json(options.json, machine, roofs, results);
  }
  return 0;
}

void add_options(CLI::App& app, Options& options) {
  app.add_option("--filter", options.filters, "only cases whose name contains one of these")
      ->delimiter(',');
  app.add_option("--json", options.json, "file to write the results to");
  app.add_option("--commit", options.commit, "what to record as the commit");
  app.add_option("--pool-mib", options.pool_mib, "size of the cache, MiB");
  app.add_flag("--burst,!--no-burst", options.burst, "in bursts after idle gaps");
  app.add_flag("--short,!--no-short", options.short_runs, "for 150 ms after an idle gap");
  app.add_flag("--cold,!--no-cold", options.cold, "also with a cold L2");
  app.add_flag("--sustained,!--no-sustained", options.sustained, "also for three seconds");
  app.add_flag("--apart,!--no-apart", options.apart, "also each kernel alone");
  app.add_flag("--quick", options.quick, "shorter windows, for tuning");
  app.add_flag("--host-time", options.host_time,
               "instead: the host's time of a call beside that of its bare launches");
  app.add_flag(
      "--query-rows", options.query_rows,
      "instead: what one more query token costs, s_q 1 to 256 (of --one's batch and lengths)");
  app.add_flag("--every-row", options.every_row, "with --query-rows: at every s_q");
  app.add_flag("--one", options.one, "the one case that the options below describe");
  DecodeCase& c = options.one_case;
  app.add_option("--b", c.b, "sequences");
  app.add_option("--s-q", c.s_q, "query tokens");
  app.add_option("--h-q", c.h_q, "query heads");
  app.add_option("--h-kv", c.h_kv, "KV heads");
  app.add_option("--s-k", c.s_k, "tokens of a sequence (mean, with --varied)");
  app.add_option("--page-size", c.page_size, "tokens of a page");
  app.add_flag("--varied", c.varied, "lengths from a normal distribution");
  app.add_flag("--causal", c.causal, "causal mask");
  app.add_flag("--sustain-one", c.sustained, "also time --one in the sustained regime");
}

}  // namespace
}  // namespace seesaw::bench

int main(int argc, char** argv) {
  CLI::App app{"Times dense decoding on the first GPU, against roofs measured in the same run"};
  seesaw::bench::Options options;
  seesaw::bench::add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    return seesaw::bench::run_bench(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "seesaw_bench_gpu: %s\n", error.what());
    return 1;
  }
}
