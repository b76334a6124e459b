// seesaw profile: where a case's time goes. By Nsight Compute where that works, else by the traced
// variant of the kernel.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "lab/call.hpp"
#include "options.hpp"
#include "output.hpp"
#include "profile/ncu_program.hpp"
#include "profile/timeline.hpp"
#include "record.hpp"
#include "sibling.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

// A rung of the ladder, on a problem of its own. 0: not chosen.
struct RungOptions {
  int rung = 0;
  int batch = 0;
  int heads = 0;
  int tokens = 0;
};

struct ProfileOptions {
  std::string input;
  RungOptions ladder;
  seesaw_dense_decode_problem settings;  // that were given, over the file's
  seesaw_options options;
  std::string tool = "auto";
  std::string ncu;
  std::string ncu_csv;
  std::string trace;
  bool for_ncu = false;  // the run that ncu looks at
  JsonOption json;
};

constexpr int kWarmUps = 3;
constexpr size_t kMostSpans = size_t{1} << 20;

// The case on its device, planned.
struct Loaded {
  Loaded(const ProfileOptions& options, const CLI::App& command)
      : input(options.input), problem(input.contents.problem) {
    copy_given(command, dense_decode().problem, &options.settings, &problem);
    problem = complete(problem);
    plan = std::make_unique<DenseDecode>(problem, options.options);
    device = open_device(options.options.device);
    call = std::make_unique<Call>(*device, *plan, problem.d_v, input.contents.args);
    call->prepare();
    for (int i = 0; i < kWarmUps; ++i) {
      call->run();
    }
    device->synchronise();
  }

  CaseFile input;
  seesaw_dense_decode_problem problem;
  std::unique_ptr<DenseDecode> plan;
  std::unique_ptr<Device> device;
  std::unique_ptr<Call> call;
};

std::string title_of(const Loaded& loaded) {
  return fmt::format("{} on {}, {}", loaded.plan->kernel(), loaded.device->name(),
                     numbers_text(loaded.plan->details()));
}

void print_reading(const std::vector<std::string>& reading) {
  print_out("\n");
  for (const std::string& sentence : reading) {
    print_out("- {}\n", sentence);
  }
}

void timeline(const ProfileOptions& options, const CLI::App& parsed,
              const std::string& why_no_ncu) {
  Loaded loaded(options, parsed);
  loaded.call->trace(kMostSpans);  // the first loads the traced variant
  const std::vector<seesaw_trace_span> spans = loaded.call->trace(kMostSpans);
  const std::vector<std::byte> traced_out = loaded.call->out();
  const double run_us = loaded.device->time_us([&] { loaded.call->run(); });
  if (loaded.call->out() != traced_out) {
    throw Failure(ExitCode::kCheckFailed,
                  "profile: the traced run's results are not those of a run, expected: the same "
                  "bits. Report it with the case.");
  }
  const TimelineSummary summary = summarise(spans, loaded.call->pieces());
  const std::string title = title_of(loaded);
  if (!options.trace.empty()) {
    emit_json(chrome_trace(spans, title), options.trace);
  }
  if (options.json.wanted()) {
    Json json = {{"tool", "timeline"},    {"why_no_ncu", why_no_ncu}, {"title", title},
                 {"untraced_us", run_us}, {"spans", spans.size()},    {"trace", options.trace}};
    json["timeline"] = timeline_json(summary);
    emit_json(json, options.json.target);
  }
  if (options.json.target == "-") {
    return;
  }
  if (!why_no_ncu.empty()) {
    print_out("no Nsight Compute: {}\n", why_no_ncu);
  }
  print_out("{}\n\n{}", title, timeline_text(summary));
  std::vector<std::string> reading = timeline_reading(summary);
  reading.push_back(fmt::format("A run without the clock took {:.1f} us.", run_us));
  print_reading(reading);
  if (!options.trace.empty()) {
    print_out("\n{} spans in {}: open it in Perfetto (ui.perfetto.dev) or chrome://tracing\n",
              spans.size(), options.trace);
  }
}

// The case again, with the flags that were given, for ncu to look at.
std::vector<std::string> own_command(const ProfileOptions& options, const CLI::App& parsed) {
  std::vector<std::string> command = {own_program(), "profile", options.input, "--for-ncu"};
  for (const auto& more : {given_arguments(parsed, dense_decode().problem, &options.settings),
                           given_arguments(parsed, description().options, &options.options)}) {
    command.insert(command.end(), more.begin(), more.end());
  }
  return command;
}

// The rung once, checked against the reference.
std::vector<std::string> ladder_command(const RungOptions& ladder) {
  std::vector<std::string> command = {
      find_sibling("seesaw_ladder", "ladder", "seesaw profile --rung", "SEESAW_BUILD_LADDER"),
      "--check", "--rungs", std::to_string(ladder.rung)};
  const auto add = [&](const char* option, int value) {
    if (value > 0) {
      command.insert(command.end(), {option, std::to_string(value)});
    }
  };
  add("--batch", ladder.batch);
  add("--heads", ladder.heads);
  add("--tokens", ladder.tokens);
  return command;
}

void print_ncu(const ProfileOptions& options, const std::vector<KernelMetrics>& launches) {
  // The last launch of each kernel: the ones before it warmed up.
  std::map<std::string, const KernelMetrics*> last;
  for (const KernelMetrics& launch : launches) {
    last[launch.kernel] = &launch;
  }
  Json json = {{"tool", "ncu"}, {"kernels", Json::array()}};
  for (const auto& [name, metrics] : last) {
    json["kernels"].push_back(ncu_json(*metrics));
    if (options.json.target != "-") {
      print_out("{}\n\n{}", name, ncu_text(*metrics));
      print_reading(ncu_reading(*metrics));
      print_out("\n");
    }
  }
  if (options.json.wanted()) {
    emit_json(json, options.json.target);
  }
}

// Empty if it worked, else why not.
std::string try_ncu(const ProfileOptions& options, const CLI::App& parsed) {
  const NcuResult result =
      read_counters(options.ncu, options.ladder.rung > 0 ? ladder_command(options.ladder)
                                                         : own_command(options, parsed));
  if (result.why_not.empty()) {
    if (!options.ncu_csv.empty()) {
      write_text_file(options.ncu_csv, result.csv);
    }
    print_ncu(options, result.launches);
  }
  return result.why_not;
}

[[noreturn]] void refuse_ncu(const std::string& why_not, const char* instead) {
  throw bad_input({"profile", why_not, "needed: Nsight Compute that may read counters", instead});
}

// An option that this kind of profile would ignore is refused. `command` knows which were given.
void refuse_if_given(const CLI::App& command, const std::vector<std::string>& names,
                     const std::string& with, const char* allowed, const char* advice) {
  for (const std::string& name : names) {
    if (command.count(name) > 0) {
      throw bad_input({name, "given " + with, allowed, advice});
    }
  }
}

void require_useful_options(const ProfileOptions& options, const CLI::App& command, bool on_gpu) {
  for (const auto& [name, path] :
       {std::pair{"--trace", options.trace}, std::pair{"--ncu-csv", options.ncu_csv}}) {
    if (command.count(name) > 0 && (path.empty() || path == "-")) {
      throw bad_input({name, path.empty() ? "an empty path" : "-, standard output",
                       "needed: a file, as the text goes there", "Give its path."});
    }
  }
  if (options.ladder.rung > 0) {
    std::vector<std::string> of_a_case = {"--trace"};
    for (const auto* fields : {&dense_decode().problem, &description().options}) {
      for (const Field& field : *fields) {
        if (field.name != "device" && command.get_option_no_throw(field.first_flag()) != nullptr &&
            !dense_decode().told_by_inputs(field)) {
          of_a_case.push_back(field.first_flag());
        }
      }
    }
    refuse_if_given(command, of_a_case, "with --rung",
                    "which is for a case; a rung is a kernel of its own", "Leave it out.");
  }
  if (!on_gpu || options.tool == "timeline") {
    refuse_if_given(command, {"--ncu", "--ncu-csv"},
                    on_gpu ? "with --tool timeline" : "on " + device_text(options.options.device),
                    "which is for ncu, with --device cuda and another --tool than timeline",
                    "Leave it out.");
  }
  for (const char* name : {"--tool", "--ncu", "--ncu-csv"}) {
    const bool timeline_too = std::string_view(name) == "--tool" && options.tool != "ncu";
    if (command.count(name) > 0 && !timeline_too) {
      refuse_if_given(command, {"--trace"}, std::string("with ") + name,
                      "which is for the timeline, and ncu takes none", "Choose one of them.");
    }
  }
}

void require_sense(const ProfileOptions& options, bool on_gpu) {
  if (options.tool != "auto" && options.tool != "ncu" && options.tool != "timeline") {
    throw bad_input(
        {"--tool", printable(options.tool), "allowed: auto, ncu, timeline", "Choose one of them."});
  }
  const RungOptions& ladder = options.ladder;
  if (options.input.empty() == (ladder.rung == 0)) {
    throw bad_input({"profile", options.input.empty() ? "nothing to run" : "a case and --rung",
                     "needed: a case's file, or --rung N", "Name one of the two."});
  }
  if (ladder.rung == 0 && (ladder.batch > 0 || ladder.heads > 0 || ladder.tokens > 0)) {
    throw bad_input({"profile", "--batch, --heads or --tokens with a case",
                     "which are for --rung; a case has its own", "Leave them out."});
  }
  if (ladder.rung > 0 && options.tool == "timeline") {
    throw bad_input({"--tool", "timeline with --rung", "allowed: auto, ncu: rungs keep no time",
                     "Leave --tool out."});
  }
  if ((options.tool == "ncu" || ladder.rung > 0) && !on_gpu) {
    throw bad_input(
        {ladder.rung > 0 ? "--rung" : "--tool",
         (ladder.rung > 0 ? "counters on " : "ncu on ") + device_text(options.options.device),
         "needed: --device cuda", ladder.rung > 0 ? "Add --device cuda." : "Use --tool timeline."});
  }
}

void profile(const ProfileOptions& options, const CLI::App& command) {
  const bool on_gpu = options.options.device.type == SEESAW_CUDA;
  require_sense(options, on_gpu);
  require_useful_options(options, command, on_gpu);
  if (options.for_ncu) {
    Loaded loaded(options, command);
    loaded.call->run();
    loaded.device->synchronise();
    return;
  }
  check_outputs({options.input, tuning_file(options.options)},
                {options.trace, options.ncu_csv, options.json.file()});
  std::string why_no_ncu;
  if (on_gpu && options.tool != "timeline" && options.trace.empty()) {  // a trace is a timeline's
    why_no_ncu = try_ncu(options, command);
    if (why_no_ncu.empty()) {
      return;
    }
    if (options.ladder.rung > 0) {
      refuse_ncu(why_no_ncu, "Run as root where Nsight Compute is installed.");
    }
    if (options.tool == "ncu" || !options.ncu_csv.empty()) {
      refuse_ncu(why_no_ncu, "Use --tool timeline, without --ncu-csv.");
    }
  }
  timeline(options, command, why_no_ncu);
}

}  // namespace

void register_profile(CLI::App& app) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App* command = app.add_subcommand(
      "profile",
      "Where a case's time goes: Nsight Compute's counters and a reading of them, or the kernel's "
      "own timeline");
  command->add_option("case", options->input, "the .safetensors file to run");
  RungOptions* ladder = &options->ladder;
  command->add_option("--rung", ladder->rung, "instead of a case: this rung of the ladder (ncu)")
      ->check(CLI::Range(1, 11));
  command->add_option("--batch", ladder->batch, "with --rung: sequences (64)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--heads", ladder->heads, "with --rung: query heads (128)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--tokens", ladder->tokens, "with --rung: tokens of a sequence (4096)")
      ->check(CLI::Range(1, 1 << 20));
  add_setting_flags(*command, &options->settings);
  add_options_flags(*command, &options->options);
  command
      ->add_option(
          "--tool", options->tool,
          "ncu, timeline, or auto: ncu on a GPU if it works and no --trace is wanted, else "
          "the timeline")
      ->capture_default_str();
  command->add_option("--ncu", options->ncu, "the ncu program (default: from PATH)");
  command->add_option("--ncu-csv", options->ncu_csv, "keep ncu's own table in this file");
  command->add_option("--trace", options->trace,
                      "write the timeline for Perfetto or chrome://tracing to this file");
  command->add_flag("--for-ncu", options->for_ncu)->group("");  // hidden: what ncu runs
  add_json_option(*command, &options->json);
  command->footer(
      "With --json=FILE the text is printed too. ncu runs each kernel alone with cold caches: its "
      "times are\nnot those of production. The timeline's clock costs a few per "
      "cent.\n\nExamples:\n"
      "  seesaw make-case -o case.safetensors --batch 4 --heads 128 --len 4096\n"
      "  seesaw profile case.safetensors --trace trace.json\n"
      "  seesaw profile case.safetensors --device cuda --tool ncu --json=counters.json\n"
      "  seesaw profile --rung 2 --batch 16 --heads 16 --tokens 2048 --device cuda");
  command->callback([options, command] { profile(*options, *command); });
}

}  // namespace seesaw::tools
