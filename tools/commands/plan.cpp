// seesaw plan: the schedule of a batch, as a table, a picture or JSON.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/atomic_file.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output.hpp"
#include "record.hpp"
#include "schedule_report.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

struct PlanOptions {
  Request request;
  JsonOption json;
  std::string svg;
  bool table = false;
};

int terminal_columns() {
  winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 100;
}

std::string sequences_of(const seesaw_piece& piece) {
  return fmt::format("{}{}[{},{}){}", piece.sequence,
                     piece.row_group == 0 ? "" : fmt::format(".{}", piece.row_group),
                     piece.tile_begin, piece.tile_end,
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

void print_text(const PlanOptions& options, const Asked& asked, const DenseDecode& plan,
                const ScheduleReport& report) {
  print_out("problem: {}\n", fields_text(dense_decode().problem, &asked.problem));
  print_out("{}: {}\n", plan.kernel(), numbers_text(plan.details()));
  print_out("{} sequences, {} tiles, schedule {}, workspace {}\n", asked.seq_lens.size(),
            report.total_tiles, bytes_text(static_cast<double>(plan.schedule_bytes())),
            bytes_text(static_cast<double>(plan.workspace_bytes())));
  print_out("{} pieces; {} sequences split, {} partials to combine\n", report.pieces.size(),
            report.split_sequences, report.partials);
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

nlohmann::ordered_json to_json(const PlanOptions& options, const Asked& asked,
                               const DenseDecode& plan, const ScheduleReport& report) {
  nlohmann::ordered_json json = {
      {"operation", dense_decode().name},
      {"problem", fields_json(dense_decode().problem, &asked.problem)},
      {"options", fields_json(description().options, &options.request.options)},
      {"kernel", plan.kernel()},
      {"seq_lens", asked.seq_lens}};
  json.update(numbers_json(plan.details()));
  json.update({{"schedule_bytes", plan.schedule_bytes()},
               {"workspace_bytes", plan.workspace_bytes()},
               {"total_tiles", report.total_tiles},
               {"busiest_tiles", report.busiest_tiles},
               {"busiest_over_mean", report.imbalance()},
               {"split_sequences", report.split_sequences},
               {"partials", report.partials},
               {"worker_tiles", report.worker_tiles}});
  json["pieces"] = nlohmann::ordered_json::array();
  for (const seesaw_piece& piece : report.pieces) {
    json["pieces"].push_back({{"worker", piece.worker},
                              {"sequence", piece.sequence},
                              {"row_group", piece.row_group},
                              {"tile_begin", piece.tile_begin},
                              {"tile_end", piece.tile_end},
                              {"partial", piece.partial}});
  }
  return json;
}

void plan(const PlanOptions& options, const CLI::App& command) {
  check_outputs({options.request.input, tuning_file(options.request.options)},
                {options.svg, options.json.file()});
  const Asked asked = resolve(options.request, command);
  const DenseDecode decode(asked.problem, options.request.options);
  const std::unique_ptr<Device> device = open_device(options.request.options.device);
  const ScheduleReport report = make_schedule(*device, decode, asked.seq_lens);
  if (!options.svg.empty()) {
    write_text_file(
        options.svg,
        svg_picture(report, fmt::format("{}: {} sequences on {} workers, busiest {:.3f} "
                                        "times the mean",
                                        decode.kernel(), asked.seq_lens.size(), report.num_workers,
                                        report.imbalance())));
  }
  if (options.json.wanted()) {
    emit_json(to_json(options, asked, decode, report), options.json.target);
  } else {
    print_text(options, asked, decode, report);
  }
}

}  // namespace

void register_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan", "The schedule of a batch: which worker does which tiles of which sequence");
  add_request(*command, &options->request);
  command->add_flag("--table", options->table, "a table of the pieces instead of the picture");
  command->add_option("--svg", options->svg, "also write the picture to this file");
  add_json_option(*command, &options->json);
  command->footer(
      "Examples:\n"
      "  seesaw plan --lens 100,4096,33000 --threads 8\n"
      "  seesaw plan --batch 32 --len-min 1 --len-max 9000 --table\n"
      "  seesaw plan --batch 8 --len 8192 --batch-invariant --svg plan.svg");
  command->callback([options, command] { plan(*options, *command); });
}

}  // namespace seesaw::tools
