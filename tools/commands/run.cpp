// seesaw run: the main job, from tensors in a file to tensors in a file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "io/safetensors_writer.hpp"
#include "lab/accuracy.hpp"
#include "lab/call.hpp"
#include "lab/errors.hpp"
#include "lab/statistics.hpp"
#include "lab/work.hpp"
#include "machine.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "prometheus.hpp"
#include "record.hpp"
#include "reference_results.hpp"

namespace seesaw::tools {
namespace {

struct RunOptions {
  std::string input;
  std::string output;
  seesaw_dense_decode_problem settings;  // that were given, over the file's
  seesaw_options options{.check_data = 1};
  std::optional<double> scale;
  std::optional<double> soft_cap;
  bool max_logits = false;
  JsonOption json;
  std::string stats;  // empty: not asked for; "-": standard output
  bool verify = false;
  int repeat = 3;
};

struct Summary {
  seesaw_dense_decode_problem problem;
  seesaw_dense_decode_args inputs;
  Work work;
  Spread us;
  double prepare_us = 0;
  std::optional<double> error_of_bound;  // --verify: the largest, as a fraction of its bound

  int64_t query_tokens() const {  // of all sequences
    return problem.ragged != 0 ? inputs.q.shape[0] : problem.batch * problem.s_q;
  }
};

float choose_scale(const RunOptions& options, const Case& input) {
  const auto scale = static_cast<float>(options.scale.value_or(input.args.scale));
  if (!std::isfinite(scale)) {
    throw bad_input({"--scale", fmt::format("{}", *options.scale), "allowed: a finite float32",
                     "Leave it out for 1 / sqrt(d_qk)."});
  }
  return scale;
}

// A call's results against the reference kernel's on the same tensors.
ErrorStatistics errors_of(Call* call, const Summary& summary) {
  const Results reference = reference_results(summary.problem, summary.inputs);
  return compare(results_of(*call, summary.problem.q_dtype), reference,
                 allowed_errors(summary.problem, summary.inputs),
                 shape_of(summary.problem, summary.inputs));
}

void throw_if_out_of_bound(const ErrorStatistics& errors) {
  if (!errors.ok()) {
    throw Failure(ExitCode::kCheckFailed,
                  fmt::format("run: out of bound against the reference: {} ({} of {} elements of "
                              "out, {} of {} of lse)",
                              errors.worst, errors.bad_out, errors.out_error.count(),
                              errors.bad_lse, errors.lse_of_bound.count()));
  }
}

void write_results(const Summary& summary, const DenseDecode& plan, Call* call,
                   SafetensorsWriter* writer) {
  const seesaw_dense_decode_problem& p = summary.problem;
  std::map<std::string, std::string> metadata = settings_of(p, summary.inputs);
  metadata["kernel"] = plan.kernel();
  metadata["version"] = seesaw_version();
  const seesaw_tensor& q = summary.inputs.q;
  std::vector<TensorDeclaration> tensors = {
      {"out", file_dtype(p.q_dtype), tensor_shape(out_of(q, p.d_v))},
      {"lse", FileDType::kF32, tensor_shape(lse_of(q))}};
  if (p.max_logits != 0) {
    tensors.push_back({"max_logits", FileDType::kF32, tensor_shape(lse_of(q))});
  }
  writer->declare(tensors, metadata);
  const std::vector<std::byte> out = call->out();
  writer->write(out.data(), out.size());
  const std::vector<float> lse = call->lse();
  writer->write(lse.data(), lse.size() * sizeof(float));
  const std::vector<float> max_logits = call->max_logits();
  writer->write(max_logits.data(), max_logits.size() * sizeof(float));
  writer->commit();
}

// ", window 128, sinks"
std::string besides_text(const Summary& s) {
  std::string text;
  text += s.problem.window > 0 ? fmt::format(", window {}", s.problem.window) : "";
  text += s.inputs.soft_cap > 0 ? fmt::format(", soft cap {:.6g}", s.inputs.soft_cap) : "";
  text += s.problem.tree_mask != 0 ? ", tree mask" : "";
  text += s.problem.sinks != 0 ? ", sinks" : "";
  return text;
}

void print_text(const RunOptions& options, const DenseDecode& plan, const Summary& s) {
  const seesaw_dense_decode_problem& p = s.problem;
  const double seconds = s.us.median * 1e-6;
  const seesaw_tensor& q = s.inputs.q;
  print_out("q          [{}] {}{}\n", fmt::join(tensor_shape(q), ", "), short_name(p.q_dtype),
            p.ragged != 0 ? fmt::format(", ragged: up to {} query tokens of each of {} sequences",
                                        p.s_q, p.batch)
                          : "");
  print_out("kv_cache   [{}, {}, {}, {}] {}, {} tokens in use\n", s.inputs.kv_cache.shape[0],
            p.page_size, p.h_kv, p.d_qk, short_name(p.kv_format), s.work.tokens);
  print_out("out        [{}] {}, lse [{}] fp32 -> {}\n",
            fmt::join(tensor_shape(out_of(q, p.d_v)), ", "), short_name(p.q_dtype),
            fmt::join(tensor_shape(lse_of(q)), ", "),
            options.output.empty() ? "not written" : options.output);
  print_out("kernel     {} on {}, {}, workspace {}\n", plan.kernel(),
            device_text(options.options.device), numbers_text(plan.details()),
            bytes_text(static_cast<double>(plan.workspace_bytes())));
  print_out("scores     scale {:.6g}, {}{}, lse in base {}\n", s.inputs.scale,
            p.causal != 0 ? "causal" : "not causal", besides_text(s),
            p.lse_base == SEESAW_LSE_BASE2 ? "2" : "e");
  print_out("time       {:.3f} ms (median of {}), schedule {:.1f} us\n", s.us.median / 1000,
            options.repeat, s.prepare_us);
  print_out("speed      {:.2f} GFLOP/s, {:.2f} GB/s\n", s.work.flops / seconds / 1e9,
            s.work.bytes / seconds / 1e9);
  if (s.error_of_bound) {
    print_out("verified   against reference.dense_decode: largest error {:.3f} of its bound\n",
              *s.error_of_bound);
  }
}

nlohmann::ordered_json to_json(const RunOptions& options, const DenseDecode& plan,
                               const Summary& s) {
  const double seconds = s.us.median * 1e-6;
  nlohmann::ordered_json json = {
      {"input", options.input},
      {"output", options.output.empty() ? nlohmann::ordered_json(nullptr)
                                        : nlohmann::ordered_json(options.output)},
      {"device", device_text(options.options.device)},
      {"kernel", plan.kernel()},
      {"threads", plan.number("num_workers")}};
  json.update(record_of(s.problem));
  json.update({{"ragged", s.problem.ragged != 0},
               {"query_tokens", s.query_tokens()},
               {"num_pages", s.inputs.kv_cache.shape[0]},
               {"tokens", s.work.tokens},
               {"scale", s.inputs.scale},
               {"workspace_bytes", plan.workspace_bytes()},
               {"repeat", options.repeat},
               {"us", s.us.median},
               {"us_p10", s.us.p10},
               {"us_p90", s.us.p90},
               {"schedule_us", s.prepare_us},
               {"gflops", s.work.flops / seconds / 1e9},
               {"gbps", s.work.bytes / seconds / 1e9},
               {"error_of_bound", s.error_of_bound ? nlohmann::ordered_json(*s.error_of_bound)
                                                   : nlohmann::ordered_json(nullptr)}});
  return json;
}

void run(const RunOptions& options, const CLI::App& command) {
  if (options.repeat < 1) {
    throw bad_input(
        {"--repeat", std::to_string(options.repeat), "allowed: at least 1", "Leave it out for 3."});
  }
  if (options.output.empty() && !options.verify) {
    throw bad_input({"-o", "no output is named", "needed: a file, or --verify alone",
                     "Name the file to write, or add --verify."});
  }
  const CaseFile input(options.input);
  check_outputs({options.input, tuning_file(options.options)},
                {options.output, options.json.file(), options.stats == "-" ? "" : options.stats});
  Summary summary;
  summary.problem = input.contents.problem;
  copy_given(command, dense_decode().problem, &options.settings, &summary.problem);
  summary.inputs = input.contents.args;
  summary.inputs.scale = choose_scale(options, input.contents);
  if (options.soft_cap) {
    summary.inputs.soft_cap = static_cast<float>(*options.soft_cap);
    summary.problem.soft_cap = 1;
  }
  summary.problem.max_logits = options.max_logits ? 1 : 0;
  summary.problem = complete(summary.problem);
  summary.work = work_of(summary.problem, input.contents.seq_lens, input.contents.query_lens());
  const DenseDecode plan(summary.problem, options.options);
  std::optional<SafetensorsWriter> writer;
  if (!options.output.empty()) {
    writer.emplace(options.output);  // before the work: an impossible output is known now
  }
  const std::unique_ptr<Device> device = open_device(options.options.device);
  Call call(*device, plan, summary.problem.d_v, summary.inputs, options.max_logits);
  summary.prepare_us = device->time_us([&] { call.prepare(); });
  std::vector<double> samples;
  for (int i = 0; i < options.repeat; ++i) {
    samples.push_back(device->time_us([&] { call.run(); }));
  }
  summary.us = spread_of(samples);
  if (writer) {
    write_results(summary, plan, &call, &*writer);
  }
  if (options.verify) {
    const ErrorStatistics errors = errors_of(&call, summary);
    throw_if_out_of_bound(errors);
    summary.error_of_bound = std::max(errors.out_of_bound.max(), errors.lse_of_bound.max());
  }
  if (options.json.wanted()) {
    emit_json(to_json(options, plan, summary), options.json.target);
  } else {
    print_text(options, plan, summary);
  }
  if (!options.stats.empty()) {
    emit_text(prometheus_text(stats()), options.stats);
  }
}

}  // namespace

void register_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Dense MLA decoding of a case: reads q, kv_cache, block_table and seq_lens, writes out "
      "and lse (docs/case-format.md)");
  command->add_option("case", options->input, "the .safetensors file to read")->required();
  command->add_option("-o,--output", options->output,
                      "the .safetensors file to write; may be left out with --verify");
  add_setting_flags(*command, &options->settings);
  add_options_flags(*command, &options->options);
  command->add_option("--scale", options->scale,
                      "of the scores (from the file's metadata, else 1 / sqrt(d_qk))");
  command->add_option("--soft-cap", options->soft_cap,
                      "scores become CAP * tanh(score / CAP) (from the file's metadata)");
  command->add_flag("--max-logits", options->max_logits,
                    "also write the largest score of each row, max_logits");
  command->add_flag(
      "--verify", options->verify,
      "compare with the reference kernel; exit 1 if out of bound (what was computed is "
      "written all the same)");
  command->add_option("--repeat", options->repeat, "runs; the median time is shown")
      ->capture_default_str();
  add_json_option(*command, &options->json);
  command->add_option("--stats", options->stats,
                      "write the library's counters as Prometheus text to a file, or to - for "
                      "standard output (docs/monitoring.md)");
  command->footer(
      "Settings that are not given are as the file's metadata says; columns of a value without "
      "either: 512 for d_qk 576\nand 512, else all.\n"
      "The input is mapped, not read: it may be larger than memory. The output appears complete or "
      "not at all.\n\nExamples:\n"
      "  seesaw run case.safetensors -o out.safetensors\n"
      "  seesaw run case.safetensors -o ref.safetensors --kernel reference.dense_decode --repeat "
      "1\n"
      "  seesaw run case.safetensors --verify\n"
      "  seesaw run case.safetensors -o out.safetensors --device cuda --json=summary.json");
  command->callback([options, command] { run(*options, *command); });
}

}  // namespace seesaw::tools
