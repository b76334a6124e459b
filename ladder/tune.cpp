// seesaw_ladder_tune (`seesaw tune ladder`): block, chunk and thread sizes of the rungs that take
// them, over the ranges of the study notes: blocks of 32 to 256, chunks of 512 to 4096 tokens, 128
// to 1024 threads, up to 128 KB of shared memory. On a GPU rungs 1 to 3, without one the CPU build
// of rung 3's steps. Every setting is checked against the reference before it is timed.
#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ladder/four_steps_cpu.hpp"
#include "ladder/harness.hpp"
#include "ladder/program.hpp"
#include "ladder/rung_03_four_steps.hpp"
#include "ladder/variants.hpp"

namespace seesaw::ladder {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kName = "seesaw tune ladder";
constexpr size_t kMostSharedBytes = 128 * 1024;

std::atomic<bool> stop{false};
extern "C" void request_stop(int) { stop.store(true); }

struct Options {
  int batch = 0;  // 0: not chosen
  int heads = 16;
  int tokens = 2048;
  double budget_seconds = 20;
  std::optional<std::string> json;
};

// One setting of one rung, and the times of its runs.
struct Variant {
  std::string rung;
  std::string sizes;
  bool standard = false;  // the rung's own
  std::function<RungResult()> run;
  std::vector<double> us;
  std::string error;

  double median() const {
    std::vector<double> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

// One run, checked.
RungResult run_on_cpu(HostProblem& host, const FlashBlocks& blocks) {
  RungResult result;
  const Problem problem = host.view();
  host.clear_out();
  const auto begin = std::chrono::steady_clock::now();
  run_four_steps_cpu(problem, blocks);
  result.microseconds =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  constexpr int64_t kRowsToCheck = 16;
  const std::vector<int64_t> rows = rows_to_check(problem, kRowsToCheck);
  static const std::vector<double> reference = reference_rows(problem, rows);
  result.deviation = compare_rows(host.out, rows, reference);
  return result;
}

// A setting's first run warms up its threads and caches, and its time does not count.
RungResult time_on_cpu(HostProblem& host, const FlashBlocks& blocks, int threads, bool* warm) {
  omp_set_num_threads(threads);
  if (!std::exchange(*warm, true)) {
    RungResult first = run_on_cpu(host, blocks);
    if (!first.deviation.ok()) {
      return first;
    }
  }
  return run_on_cpu(host, blocks);
}

std::vector<Variant> cpu_variants(HostProblem& host) {
  std::vector<Variant> variants;
  const FlashBlocks standard;
  const int most = omp_get_max_threads();
  for (int threads = most; threads >= 1; threads /= 2) {
    for (const int rows : {4, 16, 64, 128}) {
      for (const int tokens : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
        variants.push_back({"four steps, CPU",
                            fmt::format("rows {}, tokens {}, threads {}", rows, tokens, threads),
                            rows == standard.rows && tokens == standard.tokens && threads == most,
                            [&host, rows, tokens, threads, warm = false]() mutable {
                              return time_on_cpu(host, {rows, tokens}, threads, &warm);
                            },
                            {},
                            {}});
      }
    }
  }
  return variants;
}

// Rung 3's shared memory, as it allocates it.
size_t shared_bytes_of(const FourStepsSizes& sizes) {
  return static_cast<size_t>(sizes.block_tokens + sizes.threads +
                             (1 + sizes.block_rows) * kValueColumns + 2 * sizes.block_rows) *
         sizeof(float);
}

std::vector<Variant> gpu_variants(GpuHarness& gpu) {
  std::vector<Variant> variants;
  for (const int threads : kThreadCounts) {
    variants.push_back({"rung 1",
                        fmt::format("threads {}", threads),
                        threads == 128,
                        [&gpu, threads] {
                          return gpu.run([threads](const Problem& problem, Launcher* launcher) {
                            return prepare_rung_01_with(problem, threads, launcher);
                          });
                        },
                        {},
                        {}});
    for (const int chunk : kChunkSizes) {
      const SharedMemorySizes sizes{threads, chunk};
      variants.push_back(
          {"rung 2",
           fmt::format("threads {}, chunk {}", threads, chunk),
           threads == SharedMemorySizes{}.threads && chunk == SharedMemorySizes{}.chunk_tokens,
           [&gpu, sizes] {
             return gpu.run([sizes](const Problem& problem, Launcher* launcher) {
               return prepare_rung_02_with(problem, sizes, launcher);
             });
           },
           {},
           {}});
    }
  }
  const FourStepsSizes standard;
  for (const int threads : {128, 256, 512, 1024}) {
    for (const int rows : {1, 2, 4, 8, 16, 32}) {
      for (const int tokens : {32, 64, 128, 256, 1024}) {
        const FourStepsSizes sizes{rows, tokens, threads};
        if (shared_bytes_of(sizes) > kMostSharedBytes) {
          continue;
        }
        variants.push_back({"rung 3",
                            fmt::format("rows {}, tokens {}, threads {}, {} KB shared", rows,
                                        tokens, threads, shared_bytes_of(sizes) / 1024),
                            rows == standard.block_rows && tokens == standard.block_tokens &&
                                threads == standard.threads,
                            [&gpu, sizes] {
                              return gpu.run([sizes](const Problem& problem, Launcher* launcher) {
                                return prepare_rung_03_with(problem, sizes, launcher);
                              });
                            },
                            {},
                            {}});
      }
    }
  }
  return variants;
}

// One line on stderr while a terminal watches.
void show_progress(double elapsed, double budget, const Variant& variant) {
  if (isatty(STDERR_FILENO) == 1) {
    constexpr int kWidth = 24;
    const int filled = std::min(kWidth, static_cast<int>(kWidth * elapsed / budget));
    fmt::print(stderr, "\r\x1b[K[{}{}] {:.0f}/{:.0f} s {} {}", std::string(size_t(filled), '='),
               std::string(size_t(kWidth - filled), ' '), elapsed, budget, variant.rung,
               variant.sizes);
    std::fflush(stderr);
  }
}

// Of each rung: the slower half drops out, as long as there is one; its own sizes always stay.
void drop_slower_half(const std::vector<Variant>& all, std::vector<size_t>* running) {
  std::vector<size_t> kept;
  for (const size_t candidate : *running) {
    std::vector<double> medians;
    for (const size_t other : *running) {
      if (all[other].rung == all[candidate].rung) {
        medians.push_back(all[other].median());
      }
    }
    std::sort(medians.begin(), medians.end());
    if (all[candidate].standard || all[candidate].median() <= medians[(medians.size() - 1) / 2]) {
      kept.push_back(candidate);
    }
  }
  *running = kept;
}

// Rounds in which every setting that is still in the race runs once, so that a change of the
// machine's speed meets all; after each the slower half of a rung's settings drops out, until
// its best and its own are left. These go on for the rest of the budget.
void race(std::vector<Variant>* variants, double budget_seconds) {
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<size_t> running(variants->size());
  for (size_t i = 0; i < running.size(); ++i) {
    running[i] = i;
  }
  for (int round = 0; !running.empty(); ++round) {
    for (const size_t i : running) {
      Variant& variant = (*variants)[i];
      if (stop.load() || (round > 0 && elapsed() > budget_seconds)) {
        return;
      }
      show_progress(elapsed(), budget_seconds, variant);
      const RungResult result = variant.run();
      variant.error = !result.error.empty()   ? result.error
                      : result.deviation.ok() ? ""
                                              : fmt::format("wrong: {:.2f} of the bound",
                                                            result.deviation.max_error_over_bound);
      if (variant.error.empty()) {
        variant.us.push_back(result.microseconds);
      }
    }
    std::erase_if(running, [&](size_t i) { return !(*variants)[i].error.empty(); });
    drop_slower_half(*variants, &running);
  }
}

Json to_json(const std::vector<Variant>& variants) {
  Json json = Json::array();
  for (const Variant& variant : variants) {
    if (!variant.us.empty() || !variant.error.empty()) {
      json.push_back({{"rung", variant.rung},
                      {"sizes", variant.sizes},
                      {"own", variant.standard},
                      {"us", variant.error.empty() ? Json(variant.median()) : Json()},
                      {"runs", variant.us.size()},
                      {"error", variant.error}});
    }
  }
  return json;
}

// Each rung's own sizes and its best, by the median of those with most runs.
std::string best_of(const std::vector<Variant>& variants) {
  std::string text;
  std::vector<std::string> rungs;
  for (const Variant& variant : variants) {
    if (std::find(rungs.begin(), rungs.end(), variant.rung) == rungs.end()) {
      rungs.push_back(variant.rung);
    }
  }
  for (const std::string& rung : rungs) {
    const Variant* own = nullptr;
    const Variant* best = nullptr;
    size_t tried = 0;
    for (const Variant& variant : variants) {
      if (variant.rung != rung || (variant.us.empty() && variant.error.empty())) {
        continue;
      }
      ++tried;
      if (!variant.error.empty()) {
        text += fmt::format("{}: {}: {}\n", rung, variant.sizes, variant.error);
        continue;
      }
      own = variant.standard ? &variant : own;
      const bool later = best == nullptr || variant.us.size() > best->us.size();
      best = later || (variant.us.size() == best->us.size() && variant.median() < best->median())
                 ? &variant
                 : best;
    }
    if (own != nullptr && best != nullptr) {
      best = own->median() < best->median() ? own : best;
      text += fmt::format(
          "{}: own sizes ({}) {:.1f} us; best of {} ({}) {:.1f} us, {:.2f} times as fast\n", rung,
          own->sizes, own->median(), tried, best->sizes, best->median(),
          own->median() / best->median());
    }
  }
  return text;
}

int tune(const Options& options) {
  const Device device = find_device();
  const bool gpu = device.why_not.empty();
  const int batch = options.batch != 0 ? options.batch : gpu ? 16 : 1;
  ProblemSpec spec;
  spec.heads = options.heads;
  spec.seq_lens.assign(static_cast<size_t>(batch), options.tokens);
  HostProblem host(spec);
  TimingOptions timing;
  timing.min_runs = 1;
  timing.max_runs = 3;
  timing.budget_ms = 20;
  timing.rows_to_check = 32;
  GpuHarness harness(host, timing);
  if (gpu) {
    const Status ready = harness.setup();
    if (!ready.ok()) {
      fmt::print(stderr, "{}\n", ready.message());
      return kWrong;
    }
  }
  std::vector<Variant> variants = gpu ? gpu_variants(harness) : cpu_variants(host);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    if (std::signal(signal_number, request_stop) == SIG_IGN) {
      std::signal(signal_number, SIG_IGN);  // as nohup left it
    }
  }
  race(&variants, options.budget_seconds);
  if (isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "\r\x1b[K");
  }
  const std::string where = gpu ? device.name : cpu_name();
  bool written = true;
  if (options.json != "-") {
    const std::string why_cpu = gpu ? "" : " (no GPU for rungs 1 to 3: " + device.why_not + ")";
    written =
        show(fmt::format("device: {}{}\nproblem: {} sequences of {} tokens, {} heads\n{}", where,
                         why_cpu, batch, options.tokens, options.heads, best_of(variants)));
  }
  if (options.json) {
    const Json json = {{"device", where},
                       {"batch", batch},
                       {"tokens", options.tokens},
                       {"heads", options.heads},
                       {"variants", to_json(variants)}};
    const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    written = write_file("--json", *options.json, text) && written;
  }
  if (!written) {
    return kBadInput;
  }
  const bool wrong = std::any_of(variants.begin(), variants.end(),
                                 [](const Variant& v) { return !v.error.empty(); });
  return stop.load() ? 130 : wrong ? kWrong : 0;
}

// What parsing alone does not find, before anything is run.
Status check_options(const Options& options) {
  if (!std::isfinite(options.budget_seconds)) {
    return invalid_argument(
        fmt::format("--budget: {}, allowed: 0.1 to 86400 seconds. Leave it out for 20.",
                    options.budget_seconds));
  }
  return options.json ? check_output("--json", *options.json) : Status();
}

int parse_and_tune(int argc, const char* const* argv) {
  Options options;
  CLI::App app(
      "Tries the block, chunk and thread sizes of the ladder's rungs that take them; each is "
      "checked "
      "against the reference and timed in turn with the others. Ctrl-C prints what was found.",
      kName);
  app.add_option("--batch", options.batch, "sequences; default: 16, without a Hopper GPU 1")
      ->check(CLI::Range(1, 1024));
  app.add_option("--heads", options.heads, "query heads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--tokens", options.tokens, "tokens of each sequence")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--budget", options.budget_seconds, "seconds; every setting runs at least once")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--json", options.json,
                 "write every setting's time to this file; - is standard output");
  app.footer(
      "Exit codes: 1 a setting was wrong or failed; 2 bad usage, or an output that cannot be "
      "written;\n3 this program failed; 130 interrupted (what was found is printed and written).");
  if (const std::optional<int> end = parse(app, kName, argc, argv)) {
    return *end;
  }
  if (const Status usable = check_options(options); !usable.ok()) {
    return refuse(usable);
  }
  return tune(options);
}

}  // namespace
}  // namespace seesaw::ladder

int main(int argc, char** argv) {
  return seesaw::ladder::run_program("seesaw tune ladder",
                                     [&] { return seesaw::ladder::parse_and_tune(argc, argv); });
}
