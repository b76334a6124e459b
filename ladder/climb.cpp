#include "ladder/climb.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ladder/program.hpp"
#include "ladder/report.hpp"

namespace seesaw::ladder {
namespace {

// The problem, if the user does not choose one; the smaller where only the CPU row can run.
constexpr int kBatch = 64;
constexpr int kBatchOnCpu = 1;

constexpr int kMostTokens = 1 << 20;  // of a sequence

constexpr const char* kName = "seesaw ladder";

struct Options {
  int batch = 0;  // 0: not chosen
  int heads = 128;
  int tokens = 4096;
  std::vector<std::string> seq_lens_text;  // each one or more numbers with commas between them
  std::vector<std::string> rungs_text;
  std::vector<int> seq_lens;  // instead of batch and tokens
  std::vector<int> rungs;     // empty: all
  bool check_only = false;
  bool cpu = false;
  double budget_ms = 400.0;
  int64_t rows = 512;
  std::optional<std::string> json;
  std::string commit = "unknown";
};

void describe(CLI::App& app, Options& options) {
  CLI::Option* batch =
      app.add_option("--batch", options.batch, "sequences; default: 64, without a Hopper GPU 1")
          ->check(CLI::Range(1, 1024));
  app.add_option("--heads", options.heads, "query heads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  CLI::Option* tokens = app.add_option("--tokens", options.tokens, "tokens of each sequence")
                            ->check(CLI::Range(1, kMostTokens))
                            ->capture_default_str();
  app.add_option("--seq-lens", options.seq_lens_text, "lengths, instead of --batch and --tokens")
      ->type_name("LENGTH,...")
      ->excludes(batch)
      ->excludes(tokens);
  app.add_option("--rungs", options.rungs_text, "numbers of rungs; default: all")
      ->type_name("NUMBER,...");
  app.add_flag("--check", options.check_only, "compare with the reference, measure nothing");
  app.add_flag("--cpu", options.cpu, "also time the CPU build of the four steps (slow)");
  app.add_option("--budget-ms", options.budget_ms, "timed runs per rung end after this")
      ->capture_default_str();
  app.add_option("--rows", options.rows, "rows to compare with the reference")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--json", options.json, "write the results to this file; - is standard output");
  app.add_option("--commit", options.commit, "what the results are to be filed under")
      ->capture_default_str();
  app.footer(
      "Rungs need a Hopper GPU; without one the CPU build of rung 3's steps runs. Exit codes: 1 "
      "a rung was\nwrong or failed; 2 bad usage, or an output that cannot be written; 3 this "
      "program failed.\npython -m seesaw.report draws the climb from the JSON.\n\nExamples:\n"
      "  seesaw ladder\n"
      "  seesaw ladder --batch 4 --json climb.json && python -m seesaw.report climb.json -o "
      "climb.svg\n"
      "  seesaw ladder --check --seq-lens 1,63,64,65,517 --heads 20\n"
      "  seesaw ladder --rungs 9,10");
}

// "1,2" and "3" become 1, 2 and 3.
Status parse_list(const char* option, const std::vector<std::string>& texts, int most,
                  std::vector<int>* numbers) {
  for (const std::string& text : texts) {
    for (size_t first = 0; first <= text.size();) {
      const size_t comma = std::min(text.find(',', first), text.size());
      const char* end = text.data() + comma;
      int number = 0;
      const auto [parsed, error] = std::from_chars(text.data() + first, end, number);
      if (error != std::errc() || parsed != end || number < 1 || number > most) {
        return invalid_argument(fmt::format(
            "{}: '{}', allowed: numbers from 1 to {} with commas between them. Mend the list.",
            option, text.substr(first, comma - first), most));
      }
      numbers->push_back(number);
      first = comma + 1;
    }
  }
  return {};
}

// What parsing alone does not find, before anything is run.
Status check_options(Options& options) {
  SEESAW_RETURN_IF_ERROR(
      parse_list("--seq-lens", options.seq_lens_text, kMostTokens, &options.seq_lens));
  SEESAW_RETURN_IF_ERROR(
      parse_list("--rungs", options.rungs_text, static_cast<int>(kRungs.size()), &options.rungs));
  if (!std::isfinite(options.budget_ms) || options.budget_ms <= 0.0) {
    return invalid_argument(
        fmt::format("--budget-ms: {}, allowed: a finite number above 0. Leave it out for 400.",
                    options.budget_ms));
  }
  if (options.json) {
    SEESAW_RETURN_IF_ERROR(check_output("--json", *options.json));
  }
  return {};
}

// One line on stderr while a terminal watches.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), shown_(isatty(STDERR_FILENO) == 1) {}
  void step(const std::string& what) {
    if (shown_) {
      constexpr size_t kWidth = 24;
      const size_t filled = kWidth * done_ / total_;
      fmt::print(stderr, "\r\x1b[K[{}{}] {}/{} {}", std::string(filled, '='),
                 std::string(kWidth - filled, ' '), done_, total_, what);
      std::fflush(stderr);
    }
    ++done_;
  }
  ~Progress() {
    if (shown_) {
      fmt::print(stderr, "\r\x1b[K");
    }
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  size_t total_;
  size_t done_ = 0;
  bool shown_;
};

bool wanted(const Options& options, const Rung& rung) {
  return options.rungs.empty() ||
         std::find(options.rungs.begin(), options.rungs.end(), rung.number) != options.rungs.end();
}

RungResult not_run(const Rung& rung, const std::string& why) {
  RungResult result;
  result.number = rung.number;
  result.idea = rung.idea;
  result.error = why;
  return result;
}

// Runs the wanted rungs in order. After a failure on the device the others may not be able to run:
// each then reports its own.
void run_rungs(const Options& options, const Device& device, HostProblem& host, Report& report,
               Progress& progress) {
  TimingOptions timing;
  timing.budget_ms = options.budget_ms;
  timing.rows_to_check = options.rows;
  timing.max_runs = options.check_only ? 0 : timing.max_runs;
  GpuHarness harness(host, timing);
  Status ready;
  if (device.why_not.empty()) {
    progress.step("inputs and reference");
    ready = harness.setup();
  }
  for (const Rung& rung : kRungs) {
    if (!wanted(options, rung)) {
      continue;
    }
    progress.step(rung.file);
    if (!device.why_not.empty()) {
      report.rungs.push_back(not_run(rung, "needs a Hopper GPU"));
    } else if (!ready.ok()) {
      report.rungs.push_back(not_run(rung, ready.message()));
    } else {
      report.rungs.push_back(harness.run(rung));
    }
  }
  if (device.why_not.empty() && ready.ok() && !options.check_only) {
    report.empty_microseconds = harness.empty_microseconds();
  }
  if (options.cpu || !device.why_not.empty()) {
    progress.step("CPU");
    report.rungs.push_back(run_cpu(host, timing));
  }
}

// The exit status forgives rungs that this machine cannot run.
bool succeeded(const Report& report) {
  return std::all_of(report.rungs.begin(), report.rungs.end(), [](const RungResult& rung) {
    return rung.error.empty() ? rung.deviation.ok() : rung.error.starts_with("needs a Hopper GPU");
  });
}

// As it was typed, but for quotes and the folder of the program.
std::string command_of(int argc, const char* const* argv) {
  return fmt::format("{}{}{}", kName, argc > 1 ? " " : "",
                     fmt::join(std::span(argv, static_cast<size_t>(argc)).subspan(1), " "));
}

}  // namespace

int climb(int argc, const char* const* argv) {
  Options options;
  CLI::App app(
      "Climbs the ladder: MLA decoding from a naive kernel to the shipped one, every rung checked "
      "against a double-precision reference and timed on the same problem.");
  describe(app, options);
  if (const std::optional<int> end = parse(app, kName, argc, argv)) {
    return *end;
  }
  if (const Status usable = check_options(options); !usable.ok()) {
    return refuse(usable);
  }
  options.commit = valid_utf8(options.commit);
  const std::string command = valid_utf8(command_of(argc, argv));
  const Device device = find_device();
  if (options.batch == 0) {
    options.batch = device.why_not.empty() ? kBatch : kBatchOnCpu;
  }
  Report report;
  report.device = device.why_not.empty() ? device.name : cpu_name();
  report.spec.heads = options.heads;
  report.spec.seq_lens =
      options.seq_lens.empty()
          ? std::vector<int32_t>(static_cast<size_t>(options.batch), options.tokens)
          : options.seq_lens;
  report.work = work_of(report.spec.heads, report.spec.seq_lens);
  {
    Progress progress(kRungs.size() + 2);
    progress.step("random inputs");
    HostProblem host(report.spec);
    run_rungs(options, device, host, report, progress);
  }
  bool shown = true;
  if (options.json != "-") {
    const std::string why_cpu =
        device.why_not.empty() ? "" : " (no GPU for the rungs: " + device.why_not + ")";
    shown = show(fmt::format(
        "device: {}{}\nproblem: {} sequences, {} tokens in all, {} heads: {:.2f} GFLOP, "
        "{:.1f} MB\n{}",
        report.device, why_cpu, report.spec.seq_lens.size(),
        std::accumulate(report.spec.seq_lens.begin(), report.spec.seq_lens.end(), int64_t{0}),
        report.spec.heads, report.work.flops * 1e-9, report.work.bytes * 1e-6, table_of(report)));
  }
  const bool written = !options.json || write_file("--json", *options.json,
                                                   json_of(report, options.commit, command));
  if (!written || !shown) {
    return kBadInput;
  }
  return succeeded(report) ? 0 : kWrong;
}

}  // namespace seesaw::ladder
