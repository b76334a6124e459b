#include "schedule_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace seesaw::tools {
namespace {

int64_t tiles_of(const seesaw_piece& piece) { return piece.tile_end - piece.tile_begin; }

// Colours of neighbouring sequences must differ; a dozen is enough for that. 256-colour codes.
constexpr std::array<int, 12> kTerminalColours = {39,  208, 76,  170, 220, 44,
                                                  203, 99,  148, 180, 33,  213};

// Golden-angle steps around the colour circle.
int hue_of(int32_t sequence) { return static_cast<int>((int64_t{sequence} * 137) % 360); }

char letter_of(int32_t sequence) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return kLetters[static_cast<size_t>(sequence) % kLetters.size()];
}

std::string cells(const seesaw_piece& piece, int64_t width, bool colour) {
  // A piece starts with '|', so that two of one sequence can be told apart.
  std::string text(static_cast<size_t>(width), letter_of(piece.sequence));
  if (width > 1) {
    text[0] = '|';
  }
  if (!colour) {
    return text;
  }
  const int code = kTerminalColours[static_cast<size_t>(piece.sequence) % kTerminalColours.size()];
  return fmt::format("\x1b[30;48;5;{}m{}\x1b[0m", code, text);
}

}  // namespace

double ScheduleReport::imbalance() const {
  const double mean = static_cast<double>(total_tiles) / num_workers;
  return mean > 0 ? static_cast<double>(busiest_tiles) / mean : 1;
}

ScheduleReport make_schedule(Device& device, const DenseDecode& plan,
                             const std::vector<int32_t>& seq_lens) {
  const size_t lens_bytes = seq_lens.size() * sizeof(int32_t);
  const DeviceBuffer lens(device, lens_bytes);
  const DeviceBuffer schedule(device, plan.schedule_bytes());
  device.copy_in(lens.data(), seq_lens.data(), lens_bytes);
  seesaw_dense_decode_args args;
  args.seq_lens =
      make_tensor(lens.data(), SEESAW_INT32, {static_cast<int64_t>(seq_lens.size())}, device.id());
  plan.prepare(args, {.schedule = schedule.data(),
                      .schedule_bytes = schedule.size_bytes(),
                      .stream = device.stream()});
  device.synchronise();
  const AlignedBuffer host(schedule.size_bytes());
  device.copy_out(host.data(), schedule.data(), host.size());

  ScheduleReport report;
  report.pieces = plan.pieces(host.data(), host.size());
  report.num_workers = std::max(1, static_cast<int32_t>(plan.number("num_workers")));
  report.worker_tiles.assign(static_cast<size_t>(report.num_workers), 0);
  std::set<int32_t> split;
  for (const seesaw_piece& piece : report.pieces) {
    report.worker_tiles[static_cast<size_t>(piece.worker)] += tiles_of(piece);
    report.total_tiles += tiles_of(piece);
    if (piece.partial >= 0) {
      split.insert(piece.sequence);
      ++report.partials;
    }
  }
  report.split_sequences = static_cast<int64_t>(split.size());
  report.busiest_tiles = *std::max_element(report.worker_tiles.begin(), report.worker_tiles.end());
  return report;
}

std::string terminal_picture(const ScheduleReport& report, int columns, bool colour) {
  const size_t label = fmt::formatted_size("{}", report.num_workers - 1);
  const int64_t width = std::max<int64_t>(10, columns - static_cast<int64_t>(label) - 10);
  const int64_t longest = std::max<int64_t>(1, report.busiest_tiles);
  std::string picture;
  size_t next = 0;
  for (int32_t worker = 0; worker < report.num_workers; ++worker) {
    std::string line;
    int64_t tiles = 0;
    for (; next < report.pieces.size() && report.pieces[next].worker == worker; ++next) {
      // Cells from cumulative tiles, so that rounding does not add up.
      const int64_t begin = tiles * width / longest;
      tiles += tiles_of(report.pieces[next]);
      line += cells(report.pieces[next], tiles * width / longest - begin, colour);
    }
    const auto gap = static_cast<size_t>(width - tiles * width / longest);
    picture +=
        fmt::format("{:>{}} {}{} {:>6}\n", worker, label, line, std::string(gap, ' '), tiles);
  }
  return picture;
}

std::string svg_picture(const ScheduleReport& report, const std::string& title) {
  constexpr int kLeft = 60;
  constexpr int kTop = 40;
  constexpr int kWidth = 1000;
  constexpr int kRow = 18;
  const double tile =
      double{kWidth} / static_cast<double>(std::max<int64_t>(1, report.busiest_tiles));
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"{}\" y=\"20\" font-size=\"14\">{}</text>\n",
      kLeft + kWidth + 60, kTop + kRow * report.num_workers + 20, kLeft, title);
  size_t next = 0;
  for (int32_t worker = 0; worker < report.num_workers; ++worker) {
    const int y = kTop + kRow * worker;
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 8, y + 12,
                       worker);
    int64_t tiles = 0;
    for (; next < report.pieces.size() && report.pieces[next].worker == worker; ++next) {
      const seesaw_piece& piece = report.pieces[next];
      svg += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" fill=\"hsl({}, 60%, 65%)\" "
          "stroke=\"white\"><title>sequence {}: tiles [{}, {}), {}</title></rect>\n",
          kLeft + tile * static_cast<double>(tiles), y, tile * static_cast<double>(tiles_of(piece)),
          kRow - 3, hue_of(piece.sequence), piece.sequence, piece.tile_begin, piece.tile_end,
          piece.partial < 0 ? "whole" : fmt::format("partial {}", piece.partial));
      tiles += tiles_of(piece);
    }
    svg += fmt::format("<text x=\"{:.2f}\" y=\"{}\" fill=\"gray\">{}</text>\n",
                       kLeft + tile * static_cast<double>(tiles) + 6, y + 12, tiles);
  }
  return svg + "</svg>\n";
}

}  // namespace seesaw::tools
