// seesaw plan: the schedule of a batch, as a table, a picture or JSON.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "schedule_report.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

struct PlanOptions {
  ShapeOptions shape;
  LengthOptions lengths;
  PlaceOptions place;
  std::vector<int64_t> lens;
  JsonOption json;
  std::string svg;
  bool table = false;
};

std::vector<int32_t> choose_lengths(const PlanOptions& options) {
  if (options.lens.empty()) {
    return make_lengths(options.lengths.rule(), options.shape.batch, options.lengths.seed);
  }
  std::vector<int32_t> lengths;
  for (const int64_t len : options.lens) {
    lengths.push_back(make_lengths({len, len}, 1, 0)[0]);  // one draw of [len, len], checked
  }
  return lengths;
}

int terminal_columns() {
  winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

std::string sequences_of(const seesaw_piece& piece) {
  return fmt::format("{}[{},{}){}", piece.sequence, piece.tile_begin, piece.tile_end,
                     piece.partial < 0 ? "" : fmt::format("->p{}", piece.partial));
}

std::string worker_table(const ScheduleReport& report) {
  Table table({"worker", "tiles", "pieces", "sequence[tile begin, tile end)->partial"});
  size_t next = 0;
  for (int32_t worker = 0; worker < report.num_workers; ++worker) {
    std::string pieces;
    const size_t first = next;
    for (; next < report.pieces.size() && report.pieces[next].worker == worker; ++next) {
      pieces.append(pieces.empty() ? "" : " ").append(sequences_of(report.pieces[next]));
    }
    table.add({std::to_string(worker),
               std::to_string(report.worker_tiles[static_cast<size_t>(worker)]),
               std::to_string(next - first), pieces});
  }
  return table.text();
}

void print_text(const PlanOptions& options, const seesaw_dense_decode_plan_info& plan,
                const ScheduleReport& report, size_t batch) {
  print_out("{}: {} sequences, {} tiles of {} tokens, {} workers, schedule {}, workspace {}\n",
            plan.kernel, batch, report.total_tiles, plan.tile_tokens, report.num_workers,
            bytes_text(static_cast<double>(plan.schedule_bytes)),
            bytes_text(static_cast<double>(plan.workspace_bytes)));
  print_out("{} pieces; {} sequences split, {} partials to merge{}\n", report.pieces.size(),
            report.split_sequences, report.partials,
            plan.fixed_split_tiles > 0
                ? fmt::format("; batch-invariant: splits of {} tiles", plan.fixed_split_tiles)
                : "");
  print_out("busiest worker {} tiles, mean {:.1f}: {:.3f} times the mean\n\n", report.busiest_tiles,
            static_cast<double>(report.total_tiles) / report.num_workers, report.imbalance());
  if (options.table) {
    print_out("{}", worker_table(report));
  } else {
    print_out("{}", terminal_picture(report, terminal_columns(), isatty(STDOUT_FILENO) == 1));
    print_out(
        "one line a worker, a letter a sequence, '|' where a piece begins, tiles at the end\n");
  }
}

nlohmann::ordered_json to_json(const seesaw_dense_decode_plan_info& plan,
                               const ScheduleReport& report, const std::vector<int32_t>& lengths) {
  nlohmann::ordered_json json = {{"kernel", plan.kernel},
                                 {"seq_lens", lengths},
                                 {"num_workers", report.num_workers},
                                 {"tile_tokens", plan.tile_tokens},
                                 {"tile_rows", plan.tile_rows},
                                 {"fixed_split_tiles", plan.fixed_split_tiles},
                                 {"schedule_bytes", plan.schedule_bytes},
                                 {"workspace_bytes", plan.workspace_bytes},
                                 {"total_tiles", report.total_tiles},
                                 {"busiest_tiles", report.busiest_tiles},
                                 {"busiest_over_mean", report.imbalance()},
                                 {"split_sequences", report.split_sequences},
                                 {"partials", report.partials},
                                 {"worker_tiles", report.worker_tiles}};
  json["pieces"] = nlohmann::ordered_json::array();
  for (const seesaw_piece& piece : report.pieces) {
    json["pieces"].push_back({{"worker", piece.worker},
                              {"sequence", piece.sequence},
                              {"tile_begin", piece.tile_begin},
                              {"tile_end", piece.tile_end},
                              {"partial", piece.partial}});
  }
  return json;
}

void plan(const PlanOptions& options) {
  check_outputs({options.place.tuning_file()}, {options.svg, options.json.file()});
  const std::vector<int32_t> lengths = choose_lengths(options);
  const SyntheticShape shape = synthetic_shape(options.shape, options.lengths.seed);
  DenseDecodeDescriptor problem = describe_problem(shape, lengths);
  problem.flags |= options.shape.causal ? uint32_t{SEESAW_CAUSAL} : 0;
  apply(options.place, &problem);
  const DenseDecode decode(problem);
  const std::unique_ptr<Device> device = open_device(problem.device);
  const ScheduleReport report = make_schedule(*device, decode, lengths);
  if (!options.svg.empty()) {
    write_text_file(
        options.svg,
        svg_picture(report, fmt::format("{}: {} sequences on {} workers, busiest {:.3f} "
                                        "times the mean",
                                        decode.kernel(), lengths.size(), report.num_workers,
                                        report.imbalance())));
  }
  if (options.json.wanted()) {
    emit_json(to_json(decode.info(), report, lengths), options.json.target);
  } else {
    print_text(options, decode.info(), report, lengths.size());
  }
}

}  // namespace

void register_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan", "The schedule of a batch: which worker does which tiles of which sequence");
  command->add_option("--lens", options->lens, "lengths, separated by commas (instead of --batch)")
      ->delimiter(',');
  add_batch_and_heads(*command, &options->shape);
  add_shape_options(*command, &options->shape);
  add_length_options(*command, &options->lengths);
  add_place_options(*command, &options->place);
  command->add_flag("--table", options->table, "a table of the pieces instead of the picture");
  command->add_option("--svg", options->svg, "also write the picture to this file");
  add_json_option(*command, &options->json);
  command->footer(
      "Examples:\n"
      "  seesaw plan --lens 100,4096,33000 --threads 8\n"
      "  seesaw plan --batch 32 --len-min 1 --len-max 9000 --table\n"
      "  seesaw plan --batch 8 --len 8192 --batch-invariant --svg plan.svg");
  command->callback([options] { plan(*options); });
}

}  // namespace seesaw::tools
