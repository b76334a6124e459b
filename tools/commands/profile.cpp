// seesaw profile: where a case's time goes. By Nsight Compute where that works, else by the traced
// variant of the kernel.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "call.hpp"
#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "options.hpp"
#include "output.hpp"
#include "profile/ncu.hpp"
#include "profile/timeline.hpp"
#include "subprocess.hpp"

namespace seesaw::tools {
namespace {

using Json = nlohmann::ordered_json;

struct ProfileOptions {
  std::string input;
  PlaceOptions place;
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
  explicit Loaded(const ProfileOptions& options) : input(options.input) {
    const CaseShape& shape = input.contents.shape;
    problem.batch = shape.batch;
    problem.s_q = shape.s_q;
    problem.h_q = shape.h_q;
    problem.h_kv = shape.h_kv;
    problem.d_qk = shape.d_qk;
    problem.d_v = input.contents.d_v.value_or(default_d_v(shape.d_qk));
    problem.page_size = shape.page_size;
    problem.max_pages_per_sequence = shape.max_pages_per_sequence;
    problem.q_dtype = shape.q_dtype;
    problem.kv_dtype = shape.kv_dtype;
    problem.flags = input.contents.causal.value_or(false) ? uint32_t{SEESAW_CAUSAL} : 0;
    apply(options.place, &problem);
    plan = std::make_unique<DenseDecode>(problem);
    device = open_device(problem.device);
    const double standard = 1 / std::sqrt(static_cast<double>(problem.d_qk));
    const HostTensors tensors{input.contents.q.data,
                              input.contents.kv_cache.data,
                              shape.num_pages,
                              input.contents.block_table.data(),
                              input.contents.seq_lens.data(),
                              static_cast<float>(input.contents.scale.value_or(standard))};
    call = std::make_unique<Call>(*device, problem, *plan, tensors);
    call->schedule();
    for (int i = 0; i < kWarmUps; ++i) {
      call->run();
    }
    device->synchronise();
  }

  CaseFile input;
  DenseDecodeDescriptor problem;
  std::unique_ptr<DenseDecode> plan;
  std::unique_ptr<Device> device;
  std::unique_ptr<Call> call;
};

std::string title_of(const Loaded& loaded) {
  return fmt::format("{} on {}, {} workers, tiles of {} tokens", loaded.plan->kernel(),
                     loaded.device->name(), loaded.plan->info().num_workers,
                     loaded.plan->info().tile_tokens);
}

void print_reading(const std::vector<std::string>& reading) {
  fmt::print("\n");
  for (const std::string& sentence : reading) {
    fmt::print("- {}\n", sentence);
  }
}

void timeline(const ProfileOptions& options, const std::string& why_no_ncu) {
  Loaded loaded(options);
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
    fmt::print("no Nsight Compute: {}\n", why_no_ncu);
  }
  fmt::print("{}\n\n{}", title, timeline_text(summary));
  std::vector<std::string> reading = timeline_reading(summary);
  reading.push_back(fmt::format("A run without the clock took {:.1f} us.", run_us));
  print_reading(reading);
  if (!options.trace.empty()) {
    fmt::print("\n{} spans in {}: open it in Perfetto (ui.perfetto.dev) or chrome://tracing\n",
               spans.size(), options.trace);
  }
}

// A file name of our own, gone when this is.
class TemporaryFile {
 public:
  TemporaryFile() : path_((std::filesystem::temp_directory_path() / "seesaw-ncu-XXXXXX").string()) {
    const int fd = mkstemp(path_.data());
    if (fd < 0) {
      throw bad_input(
          {path_, "it cannot be made", "allowed: a writable temporary folder", "Set TMPDIR."});
    }
    close(fd);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

std::vector<std::string> own_command(const ProfileOptions& options) {
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe").string(),
                                      "profile",
                                      options.input,
                                      "--for-ncu",
                                      "--device",
                                      options.place.device};
  if (!options.place.kernel.empty()) {
    command.insert(command.end(), {"--kernel", options.place.kernel});
  }
  if (!options.place.tuning.empty()) {
    command.insert(command.end(), {"--tuning", options.place.tuning});
  }
  if (options.place.batch_invariant) {
    command.emplace_back("--batch-invariant");
  }
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
      fmt::print("{}\n\n{}", name, ncu_text(*metrics));
      print_reading(ncu_reading(*metrics));
      fmt::print("\n");
    }
  }
  if (options.json.wanted()) {
    emit_json(json, options.json.target);
  }
}

// Empty if it worked, else why not.
std::string try_ncu(const ProfileOptions& options) {
  const std::string ncu =
      options.ncu.empty() ? find_program("ncu", {"/usr/local/cuda/bin/ncu"}) : options.ncu;
  if (ncu.empty()) {
    return "no program ncu in PATH; --ncu names it";
  }
  const TemporaryFile log;
  const ProgramResult result = run_program(ncu_arguments(ncu, log.path(), own_command(options)));
  const std::string text = log.text();
  if (result.exit_code != 0 || text.find("\"ID\"") == std::string::npos) {
    return ncu + ": " + why_ncu_refused(text + result.said);
  }
  if (!options.ncu_csv.empty()) {
    write_text_file(options.ncu_csv, text);
  }
  print_ncu(options, parse_ncu_csv(text));
  return "";
}

void profile(const ProfileOptions& options) {
  if (options.tool != "auto" && options.tool != "ncu" && options.tool != "timeline") {
    throw bad_input(
        {"--tool", printable(options.tool), "allowed: auto, ncu, timeline", "Choose one of them."});
  }
  const bool on_gpu = parse_device(options.place.device).type == SEESAW_CUDA;
  if (options.tool == "ncu" && !on_gpu) {
    throw bad_input({"--tool", "ncu on " + options.place.device, "allowed: with --device cuda",
                     "Use --tool timeline."});
  }
  if (options.for_ncu) {
    Loaded loaded(options);
    loaded.call->run();
    loaded.device->synchronise();
    return;
  }
  std::string why_no_ncu;
  if (on_gpu && options.tool != "timeline") {
    why_no_ncu = try_ncu(options);
    if (why_no_ncu.empty()) {
      return;
    }
    if (options.tool == "ncu") {
      throw bad_input({"profile", why_no_ncu, "needed: Nsight Compute that may read counters",
                       "Use --tool timeline."});
    }
  }
  timeline(options, why_no_ncu);
}

}  // namespace

void register_profile(CLI::App& app) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App* command = app.add_subcommand(
      "profile",
      "Where a case's time goes: Nsight Compute's counters and a reading of them, or the kernel's "
      "own timeline");
  command->add_option("case", options->input, "the .safetensors file to run")->required();
  add_place_options(*command, &options->place);
  command
      ->add_option("--tool", options->tool,
                   "ncu, timeline, or auto: ncu on a GPU if it works, else the timeline")
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
      "  seesaw profile case.safetensors --device cuda --tool ncu --json=counters.json");
  command->callback([options] { profile(*options); });
}

}  // namespace seesaw::tools
