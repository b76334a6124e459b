// seesaw run: the main job, from tensors in a file to tensors in a file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "call.hpp"
#include "case.hpp"
#include "commands/commands.hpp"
#include "error.hpp"
#include "errors.hpp"
#include "figures.hpp"
#include "io/safetensors_writer.hpp"
#include "machine.hpp"
#include "numbers.hpp"
#include "options.hpp"
#include "output.hpp"
#include "reference_results.hpp"
#include "statistics.hpp"

namespace seesaw::tools {
namespace {

struct RunOptions {
  std::string input;
  std::string output;
  PlaceOptions place;
  JsonOption json;
  std::string stats;  // empty: not asked for; "-": standard output
  std::optional<double> scale;
  std::optional<int64_t> d_v;
  bool causal = false;
  bool verify = false;
  int repeat = 3;
};

struct Summary {
  DenseDecodeDescriptor problem;
  seesaw_dense_decode_plan_info plan{};
  int64_t num_pages = 0;
  float scale = 1;
  Figures figures;
  Spread us;
  double schedule_us = 0;
  std::optional<double> error_of_bound;  // --verify: the largest, as a fraction of its bound
};

float choose_scale(const RunOptions& options, const Case& input) {
  const double standard = 1 / std::sqrt(static_cast<double>(input.shape.d_qk));
  const double scale = options.scale.value_or(input.scale.value_or(standard));
  if (!std::isfinite(static_cast<float>(scale))) {
    throw bad_input({"--scale", fmt::format("{}", scale), "allowed: a finite float32",
                     "Leave it out for 1 / sqrt(d_qk)."});
  }
  return static_cast<float>(scale);
}

DenseDecodeDescriptor describe(const RunOptions& options, const Case& input) {
  const CaseShape& shape = input.shape;
  DenseDecodeDescriptor problem;
  problem.batch = shape.batch;
  problem.s_q = shape.s_q;
  problem.h_q = shape.h_q;
  problem.h_kv = shape.h_kv;
  problem.d_qk = shape.d_qk;
  problem.d_v = options.d_v.value_or(input.d_v.value_or(default_d_v(shape.d_qk)));
  problem.page_size = shape.page_size;
  problem.max_pages_per_sequence = shape.max_pages_per_sequence;
  problem.q_dtype = shape.q_dtype;
  problem.kv_dtype = shape.kv_dtype;
  problem.flags = SEESAW_CHECK_DATA;
  if (options.causal || input.causal.value_or(false)) {
    problem.flags |= SEESAW_CAUSAL;
  }
  apply(options.place, &problem);
  return problem;
}

// Compares a call's results with the reference kernel's on the same tensors; throws if they are out
// of bound.
void verify(const HostTensors& tensors, Call* call, Summary* summary) {
  const ErrorStatistics errors = compare(results_of(*call, summary->problem.q_dtype),
                                         reference_results(summary->problem, tensors));
  if (!errors.ok()) {
    throw Failure(ExitCode::kCheckFailed,
                  "run: out of bound against the reference: " + errors.worst);
  }
  summary->error_of_bound = std::max(errors.out_of_bound.max(), errors.lse_of_bound.max());
}

void write_results(const Summary& summary, Call* call, SafetensorsWriter* writer) {
  const DenseDecodeDescriptor& p = summary.problem;
  writer->declare({{"out", file_dtype(p.q_dtype), {p.batch, p.s_q, p.h_q, p.d_v}},
                   {"lse", FileDType::kF32, {p.batch, p.h_q, p.s_q}}},
                  {{"kernel", summary.plan.kernel},
                   {"version", seesaw_version()},
                   {"scale", fmt::format("{:.9g}", summary.scale)},
                   {"causal", (p.flags & SEESAW_CAUSAL) != 0 ? "true" : "false"},
                   {"lse_base", (p.flags & SEESAW_LSE_BASE2) != 0 ? "2" : "e"}});
  const std::vector<std::byte> out = call->out();
  writer->write(out.data(), out.size());
  const std::vector<float> lse = call->lse();
  writer->write(lse.data(), lse.size() * sizeof(float));
  writer->commit();
}

void print_text(const RunOptions& options, const Summary& s) {
  const DenseDecodeDescriptor& p = s.problem;
  const double seconds = s.us.median * 1e-6;
  print_out("q          [{}, {}, {}, {}] {}\n", p.batch, p.s_q, p.h_q, p.d_qk,
            short_name(p.q_dtype));
  print_out("kv_cache   [{}, {}, {}, {}] {}, {} tokens in use\n", s.num_pages, p.page_size, p.h_kv,
            p.d_qk, short_name(p.kv_dtype), s.figures.tokens);
  print_out("out        [{}, {}, {}, {}] {}, lse [{}, {}, {}] fp32 -> {}\n", p.batch, p.s_q, p.h_q,
            p.d_v, short_name(p.q_dtype), p.batch, p.h_q, p.s_q, options.output);
  print_out("kernel     {} on {}, {} workers, tiles of {} rows x {} tokens, workspace {}\n",
            s.plan.kernel, device_text(p.device), s.plan.num_workers, s.plan.tile_rows,
            s.plan.tile_tokens, bytes_text(static_cast<double>(s.plan.workspace_bytes)));
  print_out("scores     scale {:.6g}, {}, lse in base {}\n", s.scale,
            (p.flags & SEESAW_CAUSAL) != 0 ? "causal" : "not causal",
            (p.flags & SEESAW_LSE_BASE2) != 0 ? "2" : "e");
  print_out("time       {:.3f} ms (median of {}), schedule {:.1f} us\n", s.us.median / 1000,
            options.repeat, s.schedule_us);
  print_out("speed      {:.2f} GFLOP/s, {:.2f} GB/s\n", s.figures.flops / seconds / 1e9,
            s.figures.bytes / seconds / 1e9);
  if (s.error_of_bound) {
    print_out("verified   against reference.dense_decode: largest error {:.3f} of its bound\n",
              *s.error_of_bound);
  }
}

nlohmann::ordered_json to_json(const RunOptions& options, const Summary& s) {
  const DenseDecodeDescriptor& p = s.problem;
  const double seconds = s.us.median * 1e-6;
  return {{"input", options.input},
          {"output", options.output},
          {"device", device_text(p.device)},
          {"kernel", s.plan.kernel},
          {"threads", s.plan.num_workers},
          {"b", p.batch},
          {"s_q", p.s_q},
          {"h_q", p.h_q},
          {"h_kv", p.h_kv},
          {"d_qk", p.d_qk},
          {"d_v", p.d_v},
          {"num_pages", s.num_pages},
          {"page_size", p.page_size},
          {"tokens", s.figures.tokens},
          {"dtype", contract_name(p.q_dtype)},
          {"kv_format", contract_name(p.kv_dtype)},
          {"causal", (p.flags & SEESAW_CAUSAL) != 0},
          {"lse_base", (p.flags & SEESAW_LSE_BASE2) != 0 ? "2" : "e"},
          {"scale", s.scale},
          {"workspace_bytes", s.plan.workspace_bytes},
          {"repeat", options.repeat},
          {"us", s.us.median},
          {"us_p10", s.us.p10},
          {"us_p90", s.us.p90},
          {"schedule_us", s.schedule_us},
          {"gflops", s.figures.flops / seconds / 1e9},
          {"gbps", s.figures.bytes / seconds / 1e9},
          {"error_of_bound", s.error_of_bound ? nlohmann::ordered_json(*s.error_of_bound)
                                              : nlohmann::ordered_json(nullptr)}};
}

void run(const RunOptions& options) {
  if (options.repeat < 1) {
    throw bad_input(
        {"--repeat", std::to_string(options.repeat), "allowed: at least 1", "Leave it out for 3."});
  }
  const CaseFile input(options.input);
  check_outputs({options.input, options.place.tuning_file()},
                {options.output, options.json.file(), options.stats == "-" ? "" : options.stats});
  Summary summary;
  summary.problem = describe(options, input.contents);
  summary.scale = choose_scale(options, input.contents);
  summary.num_pages = input.contents.shape.num_pages;
  summary.figures = figures_of(summary.problem, input.contents.seq_lens);
  const DenseDecode plan(summary.problem);
  summary.plan = plan.info();
  SafetensorsWriter writer(options.output);  // before the work: an impossible output is known now
  const std::unique_ptr<Device> device = open_device(summary.problem.device);
  const HostTensors tensors{input.contents.q.data,
                            input.contents.kv_cache.data,
                            summary.num_pages,
                            input.contents.block_table.data(),
                            input.contents.seq_lens.data(),
                            summary.scale};
  Call call(*device, summary.problem, plan, tensors);
  summary.schedule_us = device->time_us([&] { call.schedule(); });
  std::vector<double> samples;
  for (int i = 0; i < options.repeat; ++i) {
    samples.push_back(device->time_us([&] { call.run(); }));
  }
  summary.us = spread_of(samples);
  if (options.verify) {
    verify(tensors, &call, &summary);
  }
  write_results(summary, &call, &writer);
  if (options.json.wanted()) {
    emit_json(to_json(options, summary), options.json.target);
  } else {
    print_text(options, summary);
  }
  if (!options.stats.empty()) {
    emit_text(stats_prometheus(), options.stats);
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
  command->add_option("-o,--output", options->output, "the .safetensors file to write")->required();
  add_place_options(*command, &options->place);
  command->add_flag("--causal", options->causal,
                    "query token i of s_q sees the first len - s_q + i + 1 keys (or as the file's "
                    "metadata says)");
  command->add_option("--scale", options->scale,
                      "of the scores (from the file's metadata, else 1 / sqrt(d_qk))");
  command->add_option("--d-v", options->d_v,
                      "columns of a value (from the metadata, else 512 for d_qk 576 and 512)");
  command->add_flag("--verify", options->verify,
                    "compare with the reference kernel first; exit 1 and write nothing if out of "
                    "bound");
  command->add_option("--repeat", options->repeat, "runs; the median time is shown")
      ->capture_default_str();
  add_json_option(*command, &options->json);
  command->add_option("--stats", options->stats,
                      "write the library's counters as Prometheus text to a file, or to - for "
                      "standard output (docs/monitoring.md)");
  command->footer(
      "The input is mapped, not read: it may be larger than memory. The output appears complete or "
      "not at all.\n\nExamples:\n"
      "  seesaw run case.safetensors -o out.safetensors\n"
      "  seesaw run case.safetensors -o ref.safetensors --kernel reference.dense_decode --repeat "
      "1\n"
      "  seesaw run case.safetensors -o out.safetensors --verify\n"
      "  seesaw run case.safetensors -o out.safetensors --device cuda --json=summary.json");
  command->callback([options] { run(*options); });
}

}  // namespace seesaw::tools
