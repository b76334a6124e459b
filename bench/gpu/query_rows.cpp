#include "query_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace seesaw::bench {
namespace {

constexpr int64_t kHeads[] = {128, 64, 16};
constexpr double kReplayUs = 1000.0;  // aim for the length of a replay
constexpr Regime kRegime = {"rows", 4.0, 0.0, 12.0};

double time_case(const DecodeCase& c, const Pool& pool, const Nvml& nvml, cudaStream_t stream) {
  const DecodeRun run(c, pool, 0, stream);
  run.schedule();
  const auto call = [&](int i) { run.run(i); };
  const double us = probe_us(CallGraph(stream, 4, call));
  const int calls = std::clamp(static_cast<int>(std::lround(kReplayUs / us)), 1, 100);
  return time_graph(CallGraph(stream, calls, call), kRegime, nvml).us;
}

}  // namespace

std::vector<int64_t> query_row_points(bool every) {
  if (!every) {
    return {1, 2, 4, 8, 16, 22, 23, 33, 34, 66, 67, 128, 129, 132, 133, 256};
  }
  std::vector<int64_t> points(256);
  for (size_t i = 0; i < points.size(); ++i) {
    points[i] = static_cast<int64_t>(i) + 1;
  }
  return points;
}

std::vector<QueryRowsTime> measure_query_rows(const DecodeCase& like,
                                              const std::vector<int64_t>& points, const Pool& pool,
                                              const Nvml& nvml, cudaStream_t stream) {
  std::vector<QueryRowsTime> times;
  for (const int64_t h_q : kHeads) {
    for (size_t i = 0; i < points.size(); ++i) {
      DecodeCase c = like;
      c.h_q = h_q;
      c.s_q = points[i];
      const double us = time_case(c, pool, nvml, stream);
      const double share =
          i == 0 ? 0.0 : static_cast<double>(points[i]) / static_cast<double>(points[i - 1]);
      times.push_back({c, us, i == 0 ? 0.0 : us / times.back().us / share});
    }
  }
  return times;
}

void print_query_rows(const std::vector<QueryRowsTime>& times) {
  std::printf("%-30s %9s %13s\n", "case", "us", "beyond share");
  const QueryRowsTime* worst = nullptr;
  for (const QueryRowsTime& t : times) {
    std::printf("%-30s %9.2f %13.3f\n", t.decode_case.name().c_str(), t.us, t.beyond_share);
    if (worst == nullptr || t.beyond_share > worst->beyond_share) {
      worst = &t;
    }
  }
  if (worst != nullptr) {
    std::printf("worst step: to %s, %.3f of its share\n", worst->decode_case.name().c_str(),
                worst->beyond_share);
  }
}

void write_query_rows(const std::string& path, const Machine& machine,
                      const std::vector<QueryRowsTime>& times) {
  nlohmann::ordered_json json;
  json["device"] = machine.device;
  json["commit"] = machine.commit;
  json["date"] = machine.date;
  json["driver"] = machine.driver;
  json["query_rows"] = nlohmann::ordered_json::array();
  for (const QueryRowsTime& t : times) {
    json["query_rows"].push_back({{"case", t.decode_case.name()},
                                  {"h_q", t.decode_case.h_q},
                                  {"s_q", t.decode_case.s_q},
                                  {"us", t.us},
                                  {"beyond_share", t.beyond_share}});
  }
  std::ofstream file(path);
  file << json.dump(1) << "\n";
  if (!file) {
    throw std::runtime_error("cannot write " + path);
  }
}

}  // namespace seesaw::bench
