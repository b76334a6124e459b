// The report's tables.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "compare/report.hpp"
#include "numbers.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kNone = "-";

// Peaks of less than this are mostly pages and the backend's small objects.
constexpr uint64_t kComparable = 1 << 20;

std::string number(double value, int digits = 3) {
  return std::isfinite(value) ? fmt::format("{:.{}g}", value, digits) : "not finite";
}
std::string number(const std::optional<double>& value) { return value ? number(*value) : kNone; }
std::string fixed(double value, int digits) { return fmt::format("{:.{}f}", value, digits); }
// Of a speed-up, where there is one.
std::string fixed(const std::optional<Spread>& spread, double Spread::*part) {
  return spread ? fixed(*spread.*part, 2) : kNone;
}
// A rate of the ceilings.
std::string rate(double gflops) { return gflops > 0 ? fixed(gflops, 1) + " GFLOP/s" : "not there"; }
std::string megabytes(uint64_t size_bytes) {
  return fixed(static_cast<double>(size_bytes) / 1e6, 2);
}

bool is_traditional(const Row& row) {
  return row.contender.system == System::kTraditional || row.contender.system == System::kChunked;
}

// Cells of a row that was not measured: `count` of them.
void add_dashes(size_t count, std::vector<std::string>* cells) {
  cells->insert(cells->end(), count, kNone);
}

Section systems_section(const std::vector<Row>& rows) {
  Section section{"systems",
                  "Time of every system",
                  "Medians of calls in turn, round by round. Speed-up: over multi-head attention, "
                  "median of the rounds' ratios, with the 10th and 90th percentile. Of ceiling: "
                  "max(operations / peak, bytes / read rate) / time; above 1 a small problem stays "
                  "in the cache. dense_decode is the attention alone, without projections.",
                  {"setting", "system", "GFLOP", "attention", "MB", "ms", "p10", "p90", "runs",
                   "speed-up", "p10", "p90", "GFLOP/s", "GB/s", "of ceiling", "with"},
                  {}};
  for (const Row& row : rows) {
    const Prediction& p = row.prediction;
    std::vector<std::string> cells = {
        row.setting.text(), row.contender.text(), fixed(p.operations / 1e9, 3),
        fixed(p.attention_operations / 1e9, 3), fixed(p.bytes / 1e6, 2)};
    if (row.measured()) {
      cells.insert(
          cells.end(),
          {fixed(row.us.median / 1e3, 3), fixed(row.us.p10 / 1e3, 3), fixed(row.us.p90 / 1e3, 3),
           std::to_string(row.runs), fixed(row.speed_up, &Spread::median),
           fixed(row.speed_up, &Spread::p10), fixed(row.speed_up, &Spread::p90),
           fixed(row.gflops(), 1), fixed(row.gbps(), 1), fixed(row.fraction(), 3),
           row.backend + (row.converted_products > 0 ? ", through float32" : "")});
    } else {
      add_dashes(10, &cells);
      cells.push_back("not run: " + row.why_not);
    }
    section.rows.push_back(cells);
  }
  return section;
}

Section memory_section(const std::vector<Row>& rows, const std::string& method) {
  Section section{"memory",
                  "Memory, predicted and measured",
                  "Intermediates: the most that the algorithm's steps hold at once; scores: scores "
                  "and probabilities of these; plan: the workspace that the backend asks for. "
                  "Peak: " +
                      method + ".",
                  {"setting", "system", "cache B/token", "times less", "weights MB", "scores MB",
                   "intermediates MB", "plan MB", "peak MB", "peak / predicted"},
                  {}};
  for (const Group& group : groups_of(rows)) {
    const bool has_base = rows[group.begin].contender.system == System::kMha;
    const auto base = static_cast<double>(rows[group.begin].prediction.cache_bytes_per_token);
    for (size_t i = group.begin; i < group.end; ++i) {
      const Row& row = rows[i];
      const Prediction& p = row.prediction;
      const bool layer = row.contender.system != System::kDenseDecode;
      std::vector<std::string> cells = {
          row.setting.text(),
          row.contender.text(),
          std::to_string(p.cache_bytes_per_token),
          has_base ? fixed(base / static_cast<double>(p.cache_bytes_per_token), 2) : kNone,
          layer ? megabytes(p.weight_bytes) : kNone,
          layer ? megabytes(p.score_bytes) : kNone,
          megabytes(p.workspace_bytes)};
      if (row.measured()) {
        const double ratio =
            static_cast<double>(row.peak_bytes) / static_cast<double>(p.workspace_bytes);
        cells.insert(
            cells.end(),
            {megabytes(row.plan_workspace_bytes),
             row.peak_bytes > 0 ? megabytes(row.peak_bytes) : kNone,
             row.peak_bytes > 0 && p.workspace_bytes >= kComparable ? fixed(ratio, 2) : kNone});
      } else {
        add_dashes(3, &cells);
      }
      section.rows.push_back(cells);
    }
  }
  return section;
}

void add_theory_rows(const std::vector<Row>& rows, Section* section) {
  for (const Group& group : groups_of(rows)) {
    const Row& base = rows[group.begin];
    for (size_t i = group.begin + 1; i < group.end; ++i) {
      const Row& row = rows[i];
      if (!row.speed_up || row.contender.system == System::kDenseDecode) {
        continue;
      }
      const bool notes = is_traditional(row) && row.setting.phase == Phase::kPrefill;
      const NotesModel model = notes_model(shape_of(row));
      section->rows.push_back(
          {row.setting.text(), row.contender.text(), notes ? number(model.ideal_speed_up()) : kNone,
           notes ? number(model.speed_up()) : kNone,
           number(base.prediction.operations / row.prediction.operations),
           number(base.bound_seconds / row.bound_seconds), number(row.speed_up->median),
           number(row.speed_up->p10), number(row.speed_up->p90)});
    }
  }
}

Section theory_section(const CompareReport& report) {
  Section section{"theory",
                  "Speed-up over multi-head attention, theoretical against measured",
                  "Notes' formulas: ideal 2 H N^2 D / (2 N^2 D' + 2 H N D); with overheads, "
                  "3 H N D D' + H N D' D are added below. Counted: this library's count of all "
                  "operations of both layers, projections included. Bound: the same for "
                  "max(operations / peak, bytes / read rate).",
                  {"setting", "system", "notes, ideal", "notes, overheads", "counted", "bound",
                   "measured", "p10", "p90"},
                  {}};
  add_theory_rows(report.rows, &section);
  add_theory_rows(report.claim_rows, &section);
  return section;
}

Section precision_section(const CompareReport& report) {
  const Setting& setting = report.precision[0].setting;
  Section section{"precision",
                  "Error against double",
                  fmt::format("Each layer on random inputs rounded to its dtype, b {} len {} heads "
                              "{}x{}, against plain loops in double on the same rounded inputs. "
                              "Relative: ||out - ref|| / ||ref||. Through float32: products on "
                              "converted copies, as the backend has none of the dtype.",
                              setting.batch, setting.len, setting.heads, setting.head_dim),
                  {"system", "dtype", "relative", "largest", "through float32"},
                  {}};
  for (const PrecisionRow& row : report.precision) {
    const bool run = row.result.why_not.empty();
    section.rows.push_back(
        {row.contender.text(), short_name(row.setting.dtype),
         run ? fmt::format("{:.2e}", row.result.error.relative) : kNone,
         run ? fmt::format("{:.2e}", row.result.error.largest) : kNone,
         run ? std::to_string(row.result.converted_products) : "not run: " + row.result.why_not});
  }
  return section;
}

std::string error_text(const MeasuredError& error) {
  return error.why_not.empty() ? fmt::format("{:.2e}", error.error.relative) : kNone;
}

Section tradeoff_section(const Tradeoff& t) {
  Section section{
      "tradeoff",
      "Compression against error and speed",
      fmt::format(
          "One multi-head attention layer of {} x {} heads, d_model {} ({}){}, and fits of its "
          "projections by singular values. Errors: ||out - given layer in double|| / ||given||, "
          "{} tokens without mask. Own error of traditional MLA: against its own form at full "
          "rank, which one attention pattern for all heads keeps from the given layer. Nothing was "
          "trained: "
          "training could do better at every rank. Times: {}, "
          "{} keys.",
          t.heads, t.head_dim, t.d_model, t.source,
          t.left_out.empty() ? "" : "; left out: " + t.left_out, t.check_tokens,
          short_name(t.points[0].prefill.setting.dtype), t.len),
      {"form", "cache less", "weight error", "error fp32", "bf16", "fp16", "own fp32", "prefill ms",
       "speed-up", "decode ms", "speed-up"},
      {}};
  for (const TradeoffPoint& point : t.points) {
    std::vector<std::string> cells = {point.contender.text(), fixed(point.compression, 2),
                                      fmt::format("{:.2e}", point.weight_error)};
    for (const MeasuredError& error : point.errors) {
      cells.push_back(error_text(error));
    }
    cells.push_back(error_text(point.own_errors[0]));
    for (const Row* row : {&point.prefill, &point.decode}) {
      cells.push_back(row->measured() ? fixed(row->us.median / 1e3, 3) : kNone);
      cells.push_back(fixed(row->speed_up, &Spread::median));
    }
    section.rows.push_back(cells);
  }
  return section;
}

// "softmax" of "void seesaw::<unnamed>::softmax<float>(Params)".
std::string short_kernel(std::string name) {
  for (const std::string_view scope : {"<unnamed>::", "unnamed>::", "(anonymous namespace)::"}) {
    for (size_t at = name.find(scope); at != std::string::npos; at = name.find(scope)) {
      name.erase(at, scope.size());
    }
  }
  name = name.substr(0, name.find_first_of("<("));
  name = name.substr(name.find_last_of(": ") + 1);  // npos + 1 is 0
  constexpr size_t kMost = 48;
  return name.size() <= kMost ? name : name.substr(0, kMost) + "...";
}

Section counters_section(const CountersReport& counters) {
  Section section{
      "counters",
      "Hardware counters of the layers",
      fmt::format("A call of each at {}, by Nsight Compute: kernels one by one with cold caches, "
                  "means over a call's kernels by their time. Instructions: of what threads "
                  "execute; barriers: of warps' instructions, with address divergence.",
                  setting_of(counters_shape(), SEESAW_FLOAT32).text()),
      {"layer", "kernel", "us", "L1 hits %", "L2 hits %", "shared used %", "registers used %",
       "CUDA cores %", "tensor %", "shared %", "memory instr. %", "float %", "control %",
       "barriers %"},
      {}};
  const auto add = [&](const LayerCounters& layer, const std::string& name,
                       const KernelMetrics& metrics) {
    std::vector<std::string> cells = {title_of(layer.contender.system), name,
                                      number(metrics.get("gpu__time_duration.sum"))};
    for (const Counter counter :
         {Counter::kL1Hits, Counter::kL2Hits, Counter::kSharedMemoryUsed, Counter::kRegistersUsed,
          Counter::kCudaCores, Counter::kTensorCores, Counter::kSharedMemory,
          Counter::kMemoryInstructions, Counter::kFloatInstructions, Counter::kControlInstructions,
          Counter::kBarrierInstructions}) {
      cells.push_back(number(percent(metrics, counter)));
    }
    section.rows.push_back(cells);
  };
  for (const LayerCounters& layer : counters.layers) {
    add(layer, layer.whole.kernel, layer.whole);
    for (const KernelMetrics& launch : layer.launches) {
      add(layer, short_kernel(launch.kernel), launch);
    }
  }
  return section;
}

Section claims_section(const CompareReport& report) {
  Section section{
      "claims",
      "The study notes' claims, row by row",
      fmt::format(
          "Formula: the notes' own cost model evaluated. Counted: whole layers' operations. "
          "The other columns were measured in this run on {}: layers in {}, hardware counters in "
          "fp32, the decode kernel in whatever dtype did best; within 15 % of the printed value "
          "counts as the same.",
          report.device_name, short_name(report.claims_dtype)),
      {"notes", "claim", "printed", "formula", "counted", "MHA", "plain", "chunked", "verdict"},
      {}};
  for (const ClaimAnswer& a : report.claims) {
    section.rows.push_back({a.claim.source, a.claim.text, a.claim.printed, number(a.formula),
                            number(a.counted), number(a.mha), number(a.plain), number(a.chunked),
                            a.verdict});
  }
  return section;
}

}  // namespace

NotesShape shape_of(const Row& row) {
  return {row.setting.batch, row.setting.len, row.setting.heads, row.setting.head_dim,
          row.contender.latent};
}

std::vector<Group> groups_of(const std::vector<Row>& rows) {
  std::vector<Group> groups;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool begins = i == 0 || rows[i].contender.system == System::kMha ||
                        rows[i].setting.text() != rows[i - 1].setting.text();
    if (begins) {
      groups.push_back({i, i});
    }
    groups.back().end = i + 1;
  }
  return groups;
}

std::vector<Section> sections_of(const CompareReport& report) {
  std::vector<Section> sections;
  std::vector<Row> all = report.rows;
  all.insert(all.end(), report.claim_rows.begin(), report.claim_rows.end());
  sections.push_back(systems_section(all));
  sections.push_back(theory_section(report));
  sections.push_back(memory_section(all, report.memory_method));
  if (!report.precision.empty()) {
    sections.push_back(precision_section(report));
  }
  if (report.tradeoff) {
    sections.push_back(tradeoff_section(*report.tradeoff));
  }
  if (!report.counters.layers.empty()) {
    sections.push_back(counters_section(report.counters));
  }
  sections.push_back(claims_section(report));
  return sections;
}

std::string ceilings_text(const DeviceCeilings& c) {
  return fmt::format("float32 {}, bf16 {}, fp16 {}, read {:.1f} GB/s ({})", rate(c.float32_gflops),
                     rate(c.bfloat16_gflops), rate(c.float16_gflops), c.read_gbps, c.method);
}

std::string compare_text(const CompareReport& report) {
  std::string text =
      fmt::format("{} ({}), commit {}, {}\nceilings: {}\n", report.device_name, report.device,
                  build_commit(), report.date, ceilings_text(report.ceilings));
  for (const Section& section : sections_of(report)) {
    Table table(section.header);
    for (const std::vector<std::string>& row : section.rows) {
      table.add(row);
    }
    text += fmt::format("\n{}\n{}{}\n", section.title, table.text(), section.note);
  }
  text += "\nIn short\n";
  for (const std::string& finding : findings_of(report)) {
    text += "- " + finding + "\n";
  }
  return text;
}

}  // namespace seesaw::tools
