// What `seesaw bench` measured, as a table and as the record that bench/results holds.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench_cases.hpp"
#include "machine.hpp"
#include "roofs.hpp"

namespace seesaw::tools {

struct BenchLine {
  BenchCase item;
  BenchResult result;
  Roofs roofs;

  double seconds() const { return result.run_us.median * 1e-6; }
  double gflops() const { return result.work.flops / seconds() / 1e9; }
  double gbps() const { return result.work.bytes / seconds() / 1e9; }
  double roof_fraction() const {
    return result.work.bound_seconds(roofs.peak_gflops * 1e9, roofs.read_gbps * 1e9) / seconds();
  }
};

struct BenchReport {
  Machine machine;
  double load = 0;                // before the start
  std::map<int, CpuRoofs> roofs;  // by threads; not empty
  std::vector<BenchLine> lines;
  bool stopped_early = false;  // by the user, before the last case
};

std::string bench_text(const BenchReport& report);
nlohmann::ordered_json bench_json(const BenchReport& report);

}  // namespace seesaw::tools
