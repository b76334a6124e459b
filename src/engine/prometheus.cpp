#include "engine/prometheus.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/message.hpp"
#include "boundary/error.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::engine {
namespace {

constexpr uint64_t kDigits = 20;  // of the largest uint64_t
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

constexpr std::array<const char*, SEESAW_STATS_FUNCTIONS> kFunctions = {"plan", "schedule", "run"};

// Which rows have a metric: a number that the host cannot know is left out, not shown as 0.
enum class Rows { kAll, kKernels, kLengthsKnown };

struct Metric {
  const char* name;
  const char* type;
  const char* help;
  Rows rows;
  uint64_t seesaw_stats::*field;
};

constexpr Metric kMetrics[] = {
    {"seesaw_sequences_total", "counter", "Sequences of successful runs.", Rows::kKernels,
     &seesaw_stats::sequences},
    {"seesaw_tensor_bytes_total", "counter", "Bytes of q, out and lse of successful runs.",
     Rows::kKernels, &seesaw_stats::tensor_bytes},
    {"seesaw_kv_planned_bytes_total", "counter",
     "Cache bytes of successful runs if every sequence were as long as planned: an upper bound.",
     Rows::kKernels, &seesaw_stats::kv_bytes_planned},
    {"seesaw_kv_tokens_total", "counter",
     "Sum of seq_lens of successful runs, where they lie in host memory.", Rows::kLengthsKnown,
     &seesaw_stats::kv_tokens},
    {"seesaw_kv_bytes_total", "counter",
     "Cache bytes of these tokens, each once a sequence, where seq_lens lie in host memory.",
     Rows::kLengthsKnown, &seesaw_stats::kv_bytes},
    {"seesaw_schedule_pieces_total", "counter",
     "Pieces of work of successful schedules made in host memory.", Rows::kLengthsKnown,
     &seesaw_stats::pieces},
    {"seesaw_schedule_split_sequences_total", "counter",
     "Sequences of more than one piece in these schedules.", Rows::kLengthsKnown,
     &seesaw_stats::split_sequences},
    {"seesaw_schedule_partials_total", "counter",
     "Partial results that these schedules have merged.", Rows::kLengthsKnown,
     &seesaw_stats::partials},
    {"seesaw_plans", "gauge", "Plans made and not destroyed.", Rows::kKernels,
     &seesaw_stats::plans},
    {"seesaw_plan_workspace_bytes_max", "gauge", "Largest workspace that a plan asked for.",
     Rows::kKernels, &seesaw_stats::workspace_bytes},
};

bool has(const seesaw_stats& row, Rows rows) {
  return rows == Rows::kAll || row.lengths_known != 0 ||
         (rows == Rows::kKernels && std::strcmp(row.kernel, "none") != 0);
}

void head(const char* name, const char* type, const char* help, PrometheusWriter* to) {
  to->text("# HELP ").text(name).text(" ").help(help).text("\n");
  to->text("# TYPE ").text(name).text(" ").text(type).text("\n");
}

// name{operation="...",kernel="..." and leaves the brace open.
void begin_sample(const char* name, const seesaw_stats& row, PrometheusWriter* to) {
  to->text(name).text("{operation=").label_value(row.operation);
  to->text(",kernel=").label_value(row.kernel);
}

void calls(std::span<const seesaw_stats> rows, PrometheusWriter* to) {
  head("seesaw_calls_total", "counter", "Calls that returned, by function and status.", to);
  for (const seesaw_stats& row : rows) {
    for (size_t function = 0; function < kFunctions.size(); ++function) {
      for (int status = SEESAW_OK; status <= SEESAW_INTERNAL_ERROR; ++status) {
        begin_sample("seesaw_calls_total", row, to);
        to->text(",function=").label_value(kFunctions[function]);
        to->text(",status=").label_value(seesaw_status_name(static_cast<seesaw_status>(status)));
        to->text("} ").number(row.calls[function][status]).text("\n");
      }
    }
  }
}

void call_seconds(std::span<const seesaw_stats> rows, PrometheusWriter* to) {
  head("seesaw_call_seconds_total", "counter",
       "Wall time inside these calls; on a GPU that is launching, not running.", to);
  for (const seesaw_stats& row : rows) {
    for (size_t function = 0; function < kFunctions.size(); ++function) {
      begin_sample("seesaw_call_seconds_total", row, to);
      to->text(",function=").label_value(kFunctions[function]);
      to->text("} ").seconds(row.nanoseconds[function]).text("\n");
    }
  }
}

Status prometheus(char* buffer, uint64_t size, uint64_t* needed) {
  if (needed == nullptr || (size > 0 && buffer == nullptr)) {
    return invalid_argument(four_part_message("stats_prometheus", "buffer or needed = NULL",
                                              "valid pointers", "Pass their addresses."));
  }
  std::array<seesaw_stats, engine::kMaxDenseDecodeKernels + 1> rows;
  const uint64_t count = seesaw_stats_count();
  for (uint64_t i = 0; i < count; ++i) {
    rows[i].struct_size = sizeof(rows[i]);
    seesaw_stats_get(i, &rows[i]);
  }
  PrometheusWriter writer(buffer, size);
  write_prometheus({rows.data(), count}, &writer);
  writer.terminate();
  *needed = writer.most_bytes();
  if (size > 0 && size < *needed) {
    buffer[0] = '\0';
    return invalid_argument(four_part_message("stats_prometheus", fmt::format("size = {}", size),
                                              fmt::format("at least {}", *needed),
                                              "Ask with size 0 and allocate *needed bytes."));
  }
  return {};
}

}  // namespace

void PrometheusWriter::write(std::string_view text) {
  const uint64_t room = size_ - used_;
  const size_t length = std::min<uint64_t>(text.size(), room);
  if (length > 0) {
    std::memcpy(buffer_ + used_, text.data(), length);
    used_ += length;
  }
}

PrometheusWriter& PrometheusWriter::text(std::string_view text) {
  write(text);
  most_ += text.size();
  return *this;
}

void PrometheusWriter::escaped(std::string_view text, std::string_view special) {
  for (const char& c : text) {
    if (special.find(c) == std::string_view::npos) {
      this->text({&c, 1});
    } else {
      this->text("\\").text(c == '\n' ? "n" : std::string_view(&c, 1));
    }
  }
}

PrometheusWriter& PrometheusWriter::label_value(std::string_view text) {
  this->text("\"");
  escaped(text, "\\\"\n");
  return this->text("\"");
}

PrometheusWriter& PrometheusWriter::help(std::string_view text) {
  escaped(text, "\\\n");
  return *this;
}

PrometheusWriter& PrometheusWriter::number(uint64_t value) {
  char digits[kDigits];
  const auto end = std::to_chars(digits, digits + kDigits, value).ptr;
  write({digits, static_cast<size_t>(end - digits)});
  most_ += kDigits;
  return *this;
}

PrometheusWriter& PrometheusWriter::seconds(uint64_t nanoseconds) {
  number(nanoseconds / kNanosecondsPerSecond);
  char fraction[] = ".000000000";
  uint64_t rest = nanoseconds % kNanosecondsPerSecond;
  for (size_t i = sizeof(fraction) - 2; rest > 0; --i, rest /= 10) {
    fraction[i] = static_cast<char>('0' + rest % 10);
  }
  return text(fraction);
}

void PrometheusWriter::terminate() {
  if (size_ > 0) {
    buffer_[std::min(used_, size_ - 1)] = '\0';
  }
  ++most_;
}

void write_prometheus(std::span<const seesaw_stats> rows, PrometheusWriter* writer) {
  head("seesaw_build_info", "gauge", "Always 1; the label names the library's version.", writer);
  writer->text("seesaw_build_info{version=").label_value(seesaw_version()).text("} 1\n");
  calls(rows, writer);
  call_seconds(rows, writer);
  for (const Metric& metric : kMetrics) {
    head(metric.name, metric.type, metric.help, writer);
    for (const seesaw_stats& row : rows) {
      if (has(row, metric.rows)) {
        begin_sample(metric.name, row, writer);
        writer->text("} ").number(row.*metric.field).text("\n");
      }
    }
  }
}

}  // namespace seesaw::engine

extern "C" seesaw_status seesaw_stats_prometheus(char* buffer, uint64_t size, uint64_t* needed) {
  return seesaw::at_boundary("stats_prometheus",
                             [&] { return seesaw::engine::prometheus(buffer, size, needed); });
}
