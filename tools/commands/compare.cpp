// seesaw compare: whole attention layers side by side, predicted and measured, in one report.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "compare/memory.hpp"
#include "compare/report.hpp"
#include "compare/request.hpp"
#include "compare/run.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "io/stop_request.hpp"
#include "options.hpp"
#include "output.hpp"

namespace seesaw::tools {
namespace {

// What --quick takes for the options that were not typed: seconds on two cores.
void make_quick(const CLI::App& command, CompareOptions* options) {
  const auto smaller = [&](const char* name, auto* value, const auto& quick) {
    if (command.count(name) == 0) {
      *value = quick;
    }
  };
  smaller("--heads", &options->heads, std::vector<int64_t>{4});
  smaller("--head-dim", &options->head_dim, int64_t{32});
  smaller("--len", &options->lens, std::vector<int64_t>{128});
  smaller("--dtype", &options->dtypes, std::vector<std::string>{"fp32"});
  smaller("--seconds", &options->rules.seconds, 0.05);
  smaller("--check-tokens", &options->check_tokens, int64_t{32});
  smaller("--fit-heads", &options->fit_heads, int64_t{4});
  smaller("--fit-head-dim", &options->spectrum.head_dim, int64_t{16});
  smaller("--fit-tokens", &options->tradeoff.check_tokens, int64_t{32});
  smaller("--fit-len", &options->tradeoff.len, int64_t{128});
  smaller("--claims", &options->claims, false);
}

void warn_if_busy(const CompareReport& report) {
  if (report.load > 0.25 * report.machine.logical_cpus) {
    print_note(
        "compare: load {:.1f} on {} CPUs before the start, for good figures: about 0. Stop "
        "what else runs and repeat.\n",
        report.load, report.machine.logical_cpus);
  }
}

// As it was typed, but for quotes and the folder of the program.
std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t program = text.find('\0');
  text = program == std::string::npos ? "" : "seesaw" + text.substr(program);
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

void compare_systems(const CLI::App& command, CompareOptions options) {
  if (options.quick) {
    make_quick(command, &options);
  }
  if (!options.for_counters.empty()) {
    run_for_counters(options.for_counters, *open_device(parse_device(options.device)));
    return;
  }
  require_sense(options);
  check_outputs({options.weights.path}, {options.json.file()});
  const std::vector<Setting> settings = make_settings(options);
  // Shapes that no system could have, and weights that no fit could read, are refused before the
  // first minute of measuring.
  for (const Setting& setting : settings) {
    for (const Contender& contender : make_contenders(options, setting.phase)) {
      predict(setting, contender, {});
    }
  }
  check_fit(options);
  const std::unique_ptr<Device> device = open_device(parse_device(options.device));
  CompareReport report;
  report.machine = describe_machine();
  report.command = command_line();
  report.device = device_text(device->id());
  report.device_name = device->is_host() ? report.machine.cpu_model : device->name();
  report.threads = options.threads > 0 ? options.threads : report.machine.logical_cpus;
  report.load = load_average();
  report.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  report.memory_method = MemoryMeter::method(*device);
  warn_if_busy(report);
  const std::string file = options.json.file();
  {
    const StopRequest stop;
    measure_all(options, settings, *device,
                {.stop = [&] { return stop.wanted(); },
                 .keep =
                     [&](const CompareReport& so_far) {
                       if (!file.empty()) {
                         emit_json(compare_json(so_far), file);
                       }
                     }},
                &report);
  }
  const bool stopped = !report.left_out.empty();
  if (stopped && report.rows.empty()) {
    throw Failure(ExitCode::kInterrupted, "compare: stopped before anything was measured");
  }
  if (!report.counters.why_not.empty()) {
    print_note("compare: no hardware counters: {}\n", report.counters.why_not);
  }
  if (options.json.wanted()) {
    emit_json(compare_json(report), options.json.target);
  }
  if (options.json.target != "-") {
    print_out("{}", compare_text(report));
  }
  if (stopped) {
    throw Failure(ExitCode::kInterrupted,
                  fmt::format("compare: stopped early, {} steps left out{}", report.left_out.size(),
                              file.empty() ? "" : "; what was measured is in " + file));
  }
}

void add_shape_options(CLI::App* command, CompareOptions* o) {
  command->add_option("--phase", o->phases, "list of prefill, decode (both)")->delimiter(',');
  command->add_option("--len", o->lens, "list of keys a sequence (512,2048)")->delimiter(',');
  command->add_option("--batch", o->batches, "list of batches (1)")->delimiter(',');
  command->add_option("--heads", o->heads, "list of heads (16)")->delimiter(',');
  command->add_option("--head-dim", o->head_dim, "columns of a head")->capture_default_str();
  command->add_option("--d-model", o->d_model, "columns of x (--heads * --head-dim)");
  command->add_option("--latent", o->latents, "list of D' of traditional MLA (--head-dim)")
      ->delimiter(',');
  command->add_option("--d-latent", o->d_latents, "list of L of DeepSeek's MLA (4 --head-dim)")
      ->delimiter(',');
  command->add_option("--d-rope", o->d_rope, "rotary columns of DeepSeek's MLA (--head-dim / 2)");
  command->add_option("--chunk", o->chunk, "queries at a time of chunked MLA")
      ->capture_default_str();
  command->add_option("--dtype", o->dtypes, "list of fp32, bf16, fp16 (fp32,bf16)")->delimiter(',');
  command->add_flag("--causal", o->causal, "query i sees keys [0, past + i]");
}

void add_fit_options(CLI::App* command, CompareOptions* o) {
  command->add_option("--weights", o->weights.path,
                      "safetensors file with q_proj, k_proj, v_proj and out_proj or o_proj to "
                      "compress (synthetic ones)");
  command->add_option("--weights-prefix", o->weights.prefix,
                      "what stands before their names, e.g. model.layers.0.self_attn.");
  command->add_option("--fit-heads", o->fit_heads, "query heads of these weights")
      ->capture_default_str();
  command
      ->add_option("--fit-head-dim", o->spectrum.head_dim, "columns of a head of synthetic weights")
      ->capture_default_str();
  command
      ->add_option("--fit-decay", o->spectrum.decay,
                   "synthetic singular values fall as (1 + i)^-decay")
      ->capture_default_str();
  command->add_option("--ranks", o->tradeoff.ranks, "list of ranks to fit (full / 1, 2, ... 64)")
      ->delimiter(',');
  command->add_option("--fit-tokens", o->tradeoff.check_tokens, "tokens that errors are taken on")
      ->capture_default_str();
  command->add_option("--fit-len", o->tradeoff.len, "keys of the fits' timed calls")
      ->capture_default_str();
  command->add_flag("--fit,!--no-fit", o->fit, "the study of compression (yes)");
}

}  // namespace

void register_compare(CLI::App& app) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = app.add_subcommand(
      "compare",
      "Attention layers side by side: multi-head attention, traditional MLA, DeepSeek's MLA; "
      "predicted and measured, in one report");
  command->add_option("--device", options->device, "cpu, cuda or cuda:N")->capture_default_str();
  command->add_option("--threads", options->threads, "CPU threads, 0 = all")->capture_default_str();
  add_shape_options(command, options.get());
  add_fit_options(command, options.get());
  command->add_flag("--claims,!--no-claims", options->claims,
                    "measure the study notes' own shapes too (yes, unless --quick)");
  command->add_flag("--counters,!--no-counters", options->counters,
                    "with the claims, on a GPU: hardware counters, if Nsight Compute works (yes)");
  command->add_option("--ncu", options->ncu, "the ncu program (default: from PATH)");
  command->add_option("--for-counters", options->for_counters)->group("");  // what ncu runs
  command
      ->add_option("--check-tokens", options->check_tokens, "tokens of the precision rows; 0: none")
      ->capture_default_str();
  command
      ->add_option("--seconds", options->rules.seconds,
                   "seconds to spend on the rounds of a setting")
      ->capture_default_str();
  command->add_option("--seed", options->rules.seed, "seed of all random numbers")
      ->capture_default_str();
  command->add_flag("--quick", options->quick, "small shapes where none are given; takes seconds");
  command->add_flag("--progress", options->progress, kProgressHelp);
  add_json_option(*command, &options->json);
  command->footer(
      "docs/compare.md explains every figure and the JSON, from which python -m seesaw.report "
      "draws "
      "a page.\nCtrl-C keeps what was measured until then.\n\n"
      "Examples:\n"
      "  seesaw compare --quick\n"
      "  seesaw compare --json=compare.json && python -m seesaw.report compare.json -o "
      "report.html\n"
      "  seesaw compare --device cuda --dtype bf16 --heads 128 --head-dim 128 --len 4096\n"
      "  seesaw compare --weights model.safetensors --weights-prefix model.layers.0.self_attn. "
      "--fit-heads 32");
  command->callback([command, options] { compare_systems(*command, *options); });
}

}  // namespace seesaw::tools
