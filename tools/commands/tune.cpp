// seesaw tune: finds the planner's best numbers for a shape on this device, and writes them to a
// file that the planner reads.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "io/stop_request.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "sibling.hpp"
#include "table.hpp"
#include "tune/case.hpp"
#include "tune/file.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

struct TuneOptions {
  seesaw_dense_decode_problem problem{.batch = 8, .h_q = 128};
  seesaw_options options;
  LengthOptions lengths;
  int64_t max_tokens = 0;  // 0: the longest sequence
  double budget_seconds = 30;
  std::string output;
  bool progress = false;
  JsonOption json;
};

struct Tuned {
  TuneCase& item;
  SearchResult search;
  std::string path;
  MergeReport merged;
  double seconds = 0;
  double load = 0;
};

std::string output_path(const TuneOptions& options) {
  const char* environment = std::getenv("SEESAW_TUNE_FILE");
  if (!options.output.empty()) {
    return options.output;
  }
  return environment != nullptr && *environment != '\0' ? environment : "seesaw_tune.json";
}

TuneShape shape_of(const TuneOptions& options) {
  if (!(options.budget_seconds > 0 && options.budget_seconds <= 86400)) {
    throw bad_input({"--budget", fmt::format("{}", options.budget_seconds),
                     "allowed: above 0, to 86400 seconds", "Leave it out for 30."});
  }
  if (options.options.batch_invariant != 0) {
    throw bad_input({"tune", "--batch-invariant", "tuned: balanced splits only",
                     "Batch-invariant splits are the same everywhere; there is nothing to tune."});
  }
  if (options.options.tuning != nullptr) {
    throw bad_input({"tune", "--tuning " + printable(options.options.tuning),
                     "which would replace the kernel's own numbers, what is compared with",
                     "Name the file to add to with -o."});
  }
  TuneShape shape{
      complete(options.problem), options.options, {}, options.max_tokens, options.lengths.seed};
  shape.lengths = options.lengths.draw(shape.problem.batch);
  return shape;
}

Json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"p10", spread.p10}, {"p90", spread.p90}};
}

Json to_json(const Setting& setting) {
  Json json = Json::object();
  for (const auto& [name, value] : setting) {
    json[name] = value;
  }
  return json;
}

Json measured_json(const Tuned& tuned) {
  const SearchResult& found = tuned.search;
  return {{"problem", fields_json(dense_decode().problem, &tuned.item.problem())},
          {"tokens", tuned.item.tokens()},
          {"default_us", to_json(found.default_us)},
          {"tuned_us", to_json(found.best_us)},
          {"speedup", to_json(found.speedup)},
          {"pairs", found.pairs},
          {"tried", found.tried.size()},
          {"stopped_early", found.stopped},
          {"seconds", tuned.seconds},
          {"load_average", tuned.load},
          {"commit", build_commit()},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

Json to_json(const Tuned& tuned) {
  Json json = {{"key", Json::parse(tuned.item.key())},
               {"file", tuned.path},
               {"set", to_json(tuned.search.best)},
               {"contender", to_json(tuned.search.contender)},
               {"wins", tuned.search.wins},
               {"measured", measured_json(tuned)}};
  json["tried"] = Json::array();
  for (const Tried& tried : tuned.search.tried) {
    json["tried"].push_back(
        {{"set", to_json(tried.setting)}, {"us", to_json(tried.us)}, {"samples", tried.samples}});
  }
  return json;
}

void print_text(const Tuned& tuned) {
  Table table({"setting", "us", "p10", "p90", "samples"});
  for (const Tried& tried : tuned.search.tried) {
    table.add({setting_text(tried.setting), fmt::format("{:.1f}", tried.us.median),
               fmt::format("{:.1f}", tried.us.p10), fmt::format("{:.1f}", tried.us.p90),
               std::to_string(tried.samples)});
  }
  const SearchResult& s = tuned.search;
  print_out("{}\n", table.text());
  print_out("default    {:.1f} us ({:.1f} to {:.1f}); {}\n", s.default_us.median, s.default_us.p10,
            s.default_us.p90, tuned.item.defaults_text());
  if (s.best.empty()) {
    print_out("result     nothing is faster beyond the noise: the default stays");
    if (!s.contender.empty()) {
      print_out(
          ": {} was {:.3f} times as fast in the median of {} pairs ({:.3f} to {:.3f}), "
          "faster in {:.0f} % of them",
          setting_text(s.contender), s.speedup.median, s.pairs, s.speedup.p10, s.speedup.p90,
          100 * s.wins);
    }
    print_out("\n");
  } else {
    print_out("result     {}: {:.1f} us ({:.1f} to {:.1f})\n", setting_text(s.best),
              s.best_us.median, s.best_us.p10, s.best_us.p90);
    print_out(
        "speed-up   {:.3f} in the median of {} pairs ({:.3f} to {:.3f}), faster in {:.0f} % "
        "of them\n",
        s.speedup.median, s.pairs, s.speedup.p10, s.speedup.p90, 100 * s.wins);
  }
  print_out("written    {}, {} other entries kept", tuned.path, tuned.merged.kept);
  print_out("{}\n", tuned.merged.dropped > 0
                        ? fmt::format(", {} of another version dropped", tuned.merged.dropped)
                        : "");
  print_out("use it     SEESAW_TUNE_FILE={} (`seesaw explain` says whether it is used)\n",
            tuned.path);
}

std::string tunable_kernels() {
  std::string names;
  for (const Kernel& kernel : dense_decode().kernels) {
    names += kernel.knobs.empty() ? "" : (names.empty() ? "" : ", ") + kernel.name;
  }
  return names;
}

// A busy machine's noise hides what there is to find.
void warn_if_busy(double load) {
  const int cpus = describe_machine().logical_cpus;
  if (load > 0.25 * cpus) {
    print_note(
        "tune: load {:.1f} on {} CPUs before the start, for a sure result: about 0. Stop "
        "what else runs and repeat.\n",
        load, cpus);
  }
}

void tune(const TuneOptions& options) {
  const StopRequest stop;
  const TuneShape shape = shape_of(options);
  const std::string path = output_path(options);
  check_outputs({}, {path, options.json.file()});
  require_tuning_file(path);  // a budget later would be too late
  const double load = load_average();
  warn_if_busy(load);
  TuneCase item(shape);
  const std::vector<Knob> knobs = item.knobs();
  if (knobs.empty()) {
    throw bad_input({"tune", std::string("kernel ") + item.kernel(),
                     "with something to tune: " + tunable_kernels(), "Leave --kernel out."});
  }
  Tuned tuned{item, {}, path, {}, 0, load};
  {
    Progress progress("tune", options.budget_seconds, options.progress);
    const auto start = std::chrono::steady_clock::now();
    const auto elapsed = [start] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    tuned.search =
        search(item, knobs,
               {.budget_seconds = options.budget_seconds,
                .elapsed_seconds = elapsed,
                .stop = [&] { return stop.wanted(); },
                .report = [&](const std::string& what) { progress.update(elapsed(), what); }});
    tuned.seconds = elapsed();
  }
  item.require_same_results(tuned.search.best);
  tuned.merged = merge_entry(path, item.key(), tuned.search.best, measured_json(tuned));
  item.require_used(path);
  if (options.json.wanted()) {
    emit_json(to_json(tuned), options.json.target);
  }
  if (options.json.target != "-") {
    print_text(tuned);
  }
  if (tuned.search.stopped) {
    throw Failure(ExitCode::kInterrupted,
                  "tune: stopped early; what was found until then is in " + path);
  }
}

}  // namespace

void register_tune(CLI::App& app) {
  auto options = std::make_shared<TuneOptions>();
  CLI::App* command = app.add_subcommand(
      "tune",
      "Find the best splits, workers and chunks for a shape on this device, and write them where "
      "the planner finds them");
  add_problem_flags(*command, &options->problem);
  add_length_options(*command, &options->lengths);
  add_options_flags(*command, &options->options);
  command->add_option("--max-tokens", options->max_tokens,
                      "tokens of a sequence that your plans allow (default: the longest here)");
  command->add_option("--budget", options->budget_seconds, "seconds to spend")
      ->capture_default_str();
  command->add_option("-o,--output", options->output,
                      "the file to add to (default: SEESAW_TUNE_FILE's, else seesaw_tune.json)");
  command->add_flag("--progress", options->progress, kProgressHelp);
  add_json_option(*command, &options->json);
  command->footer(
      "Ctrl-C keeps what was found so far. `seesaw tune ladder` tries the ladder's rungs instead.\n"
      "Plans are tuned for the batch and the tokens that they allow, rounded up to a power of "
      "two;\n"
      "batch-invariant plans never are.\n\nExamples:\n"
      "  seesaw tune --batch 1 --heads 16 --len 8192 --budget 20\n"
      "  seesaw tune --device cuda --batch 64 --len 4096 -o h200.json\n"
      "  SEESAW_TUNE_FILE=h200.json seesaw explain --device cuda --batch 64 --len 4096\n"
      "  seesaw tune ladder --budget 20");
  CLI::App* ladder = command->add_subcommand(
      "ladder", "Block, chunk and thread sizes of the ladder's rungs, which take them");
  ladder->set_help_flag();  // the program has its own --help
  ladder->prefix_command();
  command->callback([options, ladder] {
    if (ladder->parsed()) {
      become(
          find_sibling("seesaw_ladder_tune", "ladder", "seesaw tune ladder", "SEESAW_BUILD_LADDER"),
          ladder->remaining());
    }
    tune(*options);
  });
}

}  // namespace seesaw::tools
