// seesaw compare: whole attention layers side by side, predicted and measured, in one report.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "compare/memory.hpp"
#include "compare/report.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "progress.hpp"

namespace seesaw::tools {
namespace {

struct CompareOptions {
  std::string device = "cpu";
  int32_t threads = 0;
  std::vector<std::string> phases = {"prefill", "decode"};
  std::vector<int64_t> batches = {1};
  std::vector<int64_t> heads = {16};
  std::vector<int64_t> lens = {512, 2048};
  std::vector<int64_t> latents;    // D'; none: head_dim
  std::vector<int64_t> d_latents;  // L; none: 4 head_dim
  std::vector<std::string> dtypes = {"fp32", "bf16"};
  int64_t head_dim = 64;
  int64_t d_model = 0;  // 0: heads * head_dim
  int64_t d_rope = 0;   // 0: head_dim / 2
  int64_t chunk = 1024;
  int64_t check_tokens = 128;
  TradeoffRules tradeoff;
  WeightFile weights;
  SyntheticSpectrum spectrum;
  int64_t fit_heads = 8;
  MeasureRules rules;
  bool causal = false;
  bool quick = false;
  bool claims = true;
  bool fit = true;
  bool progress = false;
  std::string html;
  JsonOption json;
};

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

[[noreturn]] void refuse(const std::string& option, const std::string& arrived,
                         const std::string& allowed) {
  throw bad_input({"compare", option + " = " + arrived, "allowed: " + allowed, "Mend it."});
}

void require_each(const char* option, const std::vector<int64_t>& values) {
  constexpr int64_t kMost = int64_t{1} << 24;
  for (const int64_t value : values) {
    if (value < 1 || value > kMost) {
      refuse(option, std::to_string(value), fmt::format("1 to {}", kMost));
    }
  }
}

void require_sense(const CompareOptions& options) {
  require_each("--batch", options.batches);
  require_each("--heads", options.heads);
  require_each("--len", options.lens);
  require_each("--latent", options.latents);
  require_each("--d-latent", options.d_latents);
  require_each("--head-dim", {options.head_dim});
  require_each("--chunk", {options.chunk});
  if (options.check_tokens != 0) {
    require_each("--check-tokens", {options.check_tokens});
  }
  require_each("--fit-tokens", {options.tradeoff.check_tokens});
  require_each("--fit-len", {options.tradeoff.len});
  require_each("--fit-heads", {options.fit_heads});
  require_each("--fit-head-dim", {options.spectrum.head_dim});
  require_each("--ranks", options.tradeoff.ranks);
  if (options.d_model != 0) {
    require_each("--d-model", {options.d_model});
  }
  if (options.d_rope < 0 || options.d_rope % 2 != 0) {
    refuse("--d-rope", std::to_string(options.d_rope), "0 (half of --head-dim) or an even number");
  }
  if (!(options.rules.seconds >= 0 && options.rules.seconds <= 3600)) {
    refuse("--seconds", fmt::format("{}", options.rules.seconds), "0 to 3600");
  }
  if (options.threads < 0) {
    refuse("--threads", std::to_string(options.threads), "0 (all) or more");
  }
  if (!options.weights.path.empty() && !options.fit) {
    refuse("--weights", printable(options.weights.path) + " with --no-fit", "one of the two");
  }
}

Phase parse_phase(const std::string& text) {
  if (text != "prefill" && text != "decode") {
    refuse("--phase", printable(text), "prefill, decode");
  }
  return text == "prefill" ? Phase::kPrefill : Phase::kDecode;
}

std::vector<Setting> make_settings(const CompareOptions& options) {
  std::vector<Setting> settings;
  for (const std::string& phase : options.phases) {
    for (const std::string& dtype : options.dtypes) {
      for (const int64_t heads : options.heads) {
        for (const int64_t batch : options.batches) {
          for (const int64_t len : options.lens) {
            Setting setting;
            setting.phase = parse_phase(phase);
            setting.batch = batch;
            setting.len = len;
            setting.heads = heads;
            setting.head_dim = options.head_dim;
            setting.width = options.d_model;
            setting.chunk_size = options.chunk;
            setting.dtype = parse_dtype(dtype, "--dtype");
            setting.causal = options.causal;
            settings.push_back(setting);
          }
        }
      }
    }
  }
  return settings;
}

// Multi-head attention first: speed-ups are over it.
std::vector<Contender> make_contenders(const CompareOptions& options, Phase phase) {
  const int64_t even_half = (options.head_dim + 3) / 4 * 2;
  const int64_t rope = options.d_rope > 0 ? options.d_rope : even_half;
  std::vector<Contender> all = {{System::kMha, 0, 0}};
  const std::vector<int64_t> latents =
      options.latents.empty() ? std::vector<int64_t>{options.head_dim} : options.latents;
  for (const int64_t latent : latents) {
    all.push_back({System::kTraditional, latent, 0});
    all.push_back({System::kChunked, latent, 0});
  }
  const std::vector<int64_t> d_latents =
      options.d_latents.empty() ? std::vector<int64_t>{4 * options.head_dim} : options.d_latents;
  for (const int64_t latent : d_latents) {
    all.push_back({System::kExpanded, latent, rope});
    all.push_back({System::kAbsorbed, latent, rope});
    if (phase == Phase::kDecode) {
      all.push_back({System::kDenseDecode, latent, rope});
    }
  }
  return all;
}

// Every system in every dtype on one small problem.
std::vector<PrecisionRow> measure_precision(const CompareOptions& options, const Bench& bench) {
  std::vector<PrecisionRow> rows;
  Setting setting;
  setting.len = options.check_tokens;
  setting.heads = options.heads[0];
  setting.head_dim = options.head_dim;
  setting.width = options.d_model;
  setting.chunk_size = std::max<int64_t>(1, options.check_tokens / 3);  // several, of unequal size
  setting.causal = options.causal;
  for (const Contender& contender : make_contenders(options, Phase::kPrefill)) {
    for (const seesaw_dtype dtype : kFloatTypes) {
      setting.dtype = dtype;
      const BaselineDescriptor d = layer_of(setting, contender, bench.place);
      const LayerInputs inputs = random_inputs(d, options.rules.seed);
      rows.push_back(
          {setting, contender, measure_error(bench, d, inputs, reference_out(d, widened(inputs)))});
    }
  }
  return rows;
}

// All work of the command, so that progress knows its end.
class Run {
 public:
  Run(const CompareOptions& options, std::vector<Setting> settings, Device& device,
      CompareReport* report)
      : options_(options),
        settings_(std::move(settings)),
        bench_{device, {device.id(), options.threads}, {}, options.rules},
        report_(report),
        progress_("compare", total(), options.progress) {}

  void all() {
    step("ceilings");
    report_->ceilings = measure_ceilings(bench_.device, options_.threads);
    bench_.ceilings = report_->ceilings;
    for (const Setting& setting : settings_) {
      step(setting.text());
      add(measure_group(bench_, setting, make_contenders(options_, setting.phase)), &report_->rows);
    }
    step("precision");
    if (options_.check_tokens > 0) {
      report_->precision = measure_precision(options_, bench_);
    }
    if (options_.fit) {
      fit();
    }
    if (options_.claims) {
      for (const NotesShape& shape : claim_shapes()) {
        const Setting setting = setting_of(shape, settings_[0].dtype);
        step("claims, " + setting.text());
        add(measure_group(bench_, setting, claim_contenders(shape)), &report_->claim_rows);
      }
      for (const DecodeClaim& claim : claims_about_decoding()) {
        step("claims, " + claim.setting.text());
        add(measure_group(bench_, claim.setting, {claim.contender}), &report_->claim_rows);
      }
    }
    std::vector<Row> every = report_->claim_rows;  // the notes' own shapes are looked at first
    add(report_->rows, &every);
    report_->claims = answer_claims(every, !bench_.device.is_host());
  }

 private:
  int64_t total() const {
    return static_cast<int64_t>(settings_.size()) + 2 + (options_.fit ? kTradeoffSteps : 0) +
           (options_.claims
                ? static_cast<int64_t>(claim_shapes().size() + claims_about_decoding().size())
                : 0);
  }

  // They are about a GPU.
  std::vector<DecodeClaim> claims_about_decoding() const {
    return bench_.device.is_host() ? std::vector<DecodeClaim>{} : decode_claims();
  }

  void step(const std::string& what) { progress_.update(done_++, what); }

  static void add(const std::vector<Row>& rows, std::vector<Row>* to) {
    to->insert(to->end(), rows.begin(), rows.end());
  }

  void fit() {
    SyntheticSpectrum spectrum = options_.spectrum;
    spectrum.heads = options_.fit_heads;
    spectrum.seed = options_.rules.seed;
    WeightFile file = options_.weights;
    file.heads = options_.fit_heads;
    const HeadWeights weights =
        file.path.empty() ? synthetic_weights(spectrum) : read_weights(file);
    TradeoffRules rules = options_.tradeoff;
    rules.dtype = settings_[0].dtype;
    report_->tradeoff =
        measure_tradeoff(bench_, weights, rules, [this](const std::string& what) { step(what); });
  }

  const CompareOptions& options_;
  std::vector<Setting> settings_;
  Bench bench_;
  CompareReport* report_;
  int64_t done_ = 0;
  Progress progress_;
};

void warn_if_busy(const CompareReport& report) {
  if (report.load > 0.25 * report.machine.logical_cpus) {
    fmt::print(stderr,
               "compare: load {:.1f} on {} CPUs before the start, for good figures: about 0. Stop "
               "what else runs and repeat.\n",
               report.load, report.machine.logical_cpus);
  }
}

void check_fit(const CompareOptions& options) {
  const int64_t width = options.fit_heads * options.spectrum.head_dim;
  if (options.weights.path.empty()) {
    check_ranks(options.tradeoff.ranks, options.fit_heads, options.spectrum.head_dim, width);
  } else {
    WeightFile file = options.weights;
    file.heads = options.fit_heads;
    const HeadWeights weights = read_weights(file);
    check_ranks(options.tradeoff.ranks, weights.heads, weights.head_dim, weights.d_model);
  }
}

void compare_systems(const CLI::App& command, CompareOptions options) {
  if (options.quick) {
    make_quick(command, &options);
  }
  require_sense(options);
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
  report.device = device_text(device->id());
  report.device_name = device->is_host() ? report.machine.cpu_model : device->name();
  report.threads = options.threads > 0 ? options.threads : report.machine.logical_cpus;
  report.load = load_average();
  report.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  report.memory_method = MemoryMeter::method(*device);
  warn_if_busy(report);
  Run(options, settings, *device, &report).all();
  if (!options.html.empty()) {
    write_text_file(options.html, compare_html(report));
  }
  if (options.json.wanted()) {
    emit_json(compare_json(report), options.json.target);
  }
  if (options.json.target != "-") {
    fmt::print("{}", compare_text(report));
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
                      "before their names, e.g. model.layers.0.self_attn.");
  command->add_option("--fit-heads", o->fit_heads, "query heads of these weights")
      ->capture_default_str();
  command->add_option("--fit-head-dim", o->spectrum.head_dim, "of the synthetic ones")
      ->capture_default_str();
  command->add_option("--fit-decay", o->spectrum.decay, "their singular values: (1 + i)^-decay")
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
  command
      ->add_option("--check-tokens", options->check_tokens, "tokens of the precision rows; 0: none")
      ->capture_default_str();
  command->add_option("--seconds", options->rules.seconds, "to spend on the rounds of a setting")
      ->capture_default_str();
  command->add_option("--seed", options->rules.seed, "of everything random")->capture_default_str();
  command->add_flag("--quick", options->quick, "small shapes where none are given: seconds");
  command->add_flag("--progress", options->progress, "report progress even without a terminal");
  command->add_option("--html", options->html, "also write the report, with plots, to this file");
  add_json_option(*command, &options->json);
  command->footer(
      "docs/compare.md explains every figure and the JSON. Files appear complete or not at all.\n\n"
      "Examples:\n"
      "  seesaw compare --quick\n"
      "  seesaw compare --html report.html --json=report.json\n"
      "  seesaw compare --device cuda --dtype bf16 --heads 128 --head-dim 128 --len 4096\n"
      "  seesaw compare --weights model.safetensors --weights-prefix model.layers.0.self_attn. "
      "--fit-heads 32");
  command->callback([command, options] { compare_systems(*command, *options); });
}

}  // namespace seesaw::tools
