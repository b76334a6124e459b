#include "bench_report.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "numbers.hpp"
#include "record.hpp"
#include "table.hpp"

namespace seesaw::tools {
namespace {

nlohmann::ordered_json to_json(const BenchLine& line) {
  nlohmann::ordered_json json = {{"op", "dense_decode"},
                                 {"kernel", line.result.kernel},
                                 {"threads", line.item.options.num_threads}};
  json.update(record_of(line.item.problem));
  json.update({{"s_k", line.item.lengths.max},
               {"varlen", line.item.lengths.min != line.item.lengths.max},
               {"tokens", line.result.work.tokens},
               {"batch_invariant", line.item.options.batch_invariant != 0},
               {"l2", line.item.cache == CacheState::kCold ? "cold" : "warm"},
               {"regime", "short"},
               {"runs", line.result.runs},
               {"us", line.result.run_us.median},
               {"us_p10", line.result.run_us.p10},
               {"us_p90", line.result.run_us.p90},
               {"schedule_us", line.result.prepare_us.median},
               {"workspace_bytes", line.result.workspace_bytes},
               {"tflops", line.gflops() / 1000},
               {"gbps", line.gbps()},
               {"roof_gflops", line.roofs.peak_gflops},
               {"roof_fraction", line.roof_fraction()}});
  return json;
}

}  // namespace

std::string bench_text(const BenchReport& report) {
  const Machine& machine = report.machine;
  std::string text = fmt::format("{}, {}; {}\n", machine.cpu_model, machine.os, machine.compiler);
  for (const auto& [threads, roof] : report.roofs) {
    text += fmt::format(
        "roofs, {} threads: AMX {:.1f} GFLOP/s from registers, {:.1f} from the first cache, "
        "bf16 dot {:.1f} GFLOP/s, float multiply-add {:.1f} GFLOP/s, read "
        "{:.1f} GB/s\n",
        threads, roof.amx_registers_gflops_all, roof.amx_first_cache_gflops_all,
        roof.bf16_dot_gflops_all, roof.float_fma_gflops_all, roof.read_gbps_all);
  }
  Table table({"kernel", "threads", "b", "s_q", "h_q", "s_k", "q/kv", "cache", "us", "p10", "p90",
               "schedule us", "GFLOP/s", "GB/s", "of roof"});
  for (const BenchLine& line : report.lines) {
    const seesaw_dense_decode_problem& p = line.item.problem;
    const bool varied = line.item.lengths.min != line.item.lengths.max;
    table.add({line.result.kernel, std::to_string(line.item.options.num_threads),
               std::to_string(p.batch), std::to_string(p.s_q), std::to_string(p.h_q),
               fmt::format("{}{}", line.item.lengths.max, varied ? " var" : ""),
               fmt::format("{}/{}", short_name(p.q_dtype), short_name(p.kv_format)),
               line.item.cache == CacheState::kCold ? "cold" : "warm",
               fmt::format("{:.1f}", line.result.run_us.median),
               fmt::format("{:.1f}", line.result.run_us.p10),
               fmt::format("{:.1f}", line.result.run_us.p90),
               fmt::format("{:.1f}", line.result.prepare_us.median),
               fmt::format("{:.1f}", line.gflops()), fmt::format("{:.1f}", line.gbps()),
               fmt::format("{:.3f}", line.roof_fraction())});
  }
  return text + table.text();
}

nlohmann::ordered_json bench_json(const BenchReport& report) {
  const Machine& machine = report.machine;
  nlohmann::ordered_json json = {
      {"device", machine.cpu_model},
      {"commit", build_commit()},
      {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
      {"driver", nullptr},
      {"machine",
       {{"os", machine.os},
        {"compiler", machine.compiler},
        {"cpus", machine.logical_cpus},
        {"features", machine.cpu_features},
        {"memory_bytes", machine.memory_bytes},
        {"load_average_before", report.load}}},
      {"roofs", to_json(report.roofs.rbegin()->second)}};  // with the most threads
  for (const CacheLevel& cache : machine.caches) {
    json["machine"]["cache_bytes"][cache.name] = cache.size_bytes;
  }
  for (const auto& [threads, roof] : report.roofs) {
    json["roofs_by_threads"].push_back(to_json(roof));
  }
  for (const BenchLine& line : report.lines) {
    json["results"].push_back(to_json(line));
  }
  json["stopped_early"] = report.stopped_early;
  return json;
}

}  // namespace seesaw::tools
