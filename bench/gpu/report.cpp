#include "report.hpp"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace seesaw::bench {
namespace {

struct Rates {
  double tflops;
  double gbps;
  double roof_fraction;  // the time that the work needs at the roofs, of the time it took
};

// cuBLAS in the regime that the result was timed in.
double cublas_flops(const Result& result, const Roofs& roofs) {
  const std::string regime = result.regime;
  const double tflops = regime == kBurst            ? roofs.cublas_burst_tflops
                        : regime == kSustained.name ? roofs.cublas_sustained_tflops
                                                    : roofs.cublas_short_tflops;
  return tflops * 1e12;
}

Rates rates_of(const Result& result, const Roofs& roofs) {
  const Work work = work_of(result.decode_case);
  const double seconds = result.call.us * 1e-6;
  const double flops_per_second = cublas_flops(result, roofs);
  const double compute = flops_per_second > 0.0 ? work.flops / flops_per_second : 0.0;
  const double memory = work.bytes / roofs.bytes_per_second();
  return {work.flops / seconds * 1e-12, work.bytes / seconds * 1e-9,
          (compute > memory ? compute : memory) / seconds};
}

}  // namespace

void print_roofs(const Machine& machine, const Roofs& roofs) {
  std::printf("%s, %d SMs, power limit %.0f W, driver %s, commit %s\n", machine.device.c_str(),
              machine.num_sms, machine.power_limit_w, machine.driver.c_str(),
              machine.commit.c_str());
  std::printf(
      "roofs: cuBLAS bf16 8192^3 %.0f TFLOPS in bursts of 10, %.0f short, %.0f sustained; "
      "HBM read %.0f GB/s plain, %.0f TMA%s%s\n",
      roofs.cublas_burst_tflops, roofs.cublas_short_tflops, roofs.cublas_sustained_tflops,
      roofs.read_plain_gbps, roofs.read_tma_gbps, roofs.cublas_problem.empty() ? "" : "; ",
      roofs.cublas_problem.c_str());
}

void print_header() {
  std::printf("%-30s %-4s %-5s %9s %9s %9s %6s %6s %5s %8s %8s %8s %8s %5s %4s\n", "case", "L2",
              "rgm", "us", "p10", "p90", "TFLOPS", "GB/s", "roof", "+sched", "sched", "attn",
              "comb", "MHz", "W");
}

void print_result(const Result& r, const Roofs& roofs) {
  const Rates rates = rates_of(r, roofs);
  std::printf(
      "%-30s %-4s %-5.5s %9.2f %9.2f %9.2f %6.0f %6.0f %5.3f %8.2f %8.2f %8.2f %8.2f %5.0f "
      "%4.0f\n",
      r.decode_case.name().c_str(), r.l2, r.regime, r.call.us, r.call.us_p10, r.call.us_p90,
      rates.tflops, rates.gbps, rates.roof_fraction, r.us_with_schedule, r.us_schedule,
      r.us_attention, r.us_combine, r.call.power.clock_mhz, r.call.power.power_w);
  std::fflush(stdout);
}

void write_json(const std::string& path, const Machine& machine, const Roofs& roofs,
                const std::vector<Result>& results) {
  nlohmann::ordered_json json;
  json["device"] = machine.device;
  json["commit"] = machine.commit;
  json["date"] = machine.date;
  json["driver"] = machine.driver;
  json["num_sms"] = machine.num_sms;
  json["power_limit_w"] = machine.power_limit_w;
  json["roofs"] = {{"cublas_bf16_tflops", roofs.cublas_burst_tflops},
                   {"cublas_bf16_short_tflops", roofs.cublas_short_tflops},
                   {"cublas_bf16_sustained_tflops", roofs.cublas_sustained_tflops},
                   {"hbm_read_gbps", roofs.bytes_per_second() * 1e-9},
                   {"hbm_read_plain_gbps", roofs.read_plain_gbps},
                   {"hbm_read_tma_gbps", roofs.read_tma_gbps}};
  json["results"] = nlohmann::ordered_json::array();
  for (const Result& r : results) {
    const DecodeCase& c = r.decode_case;
    const Rates rates = rates_of(r, roofs);
    json["results"].push_back({{"op", "dense_decode"},
                               {"kernel", r.kernel},
                               {"b", c.b},
                               {"s_q", c.s_q},
                               {"h_q", c.h_q},
                               {"h_kv", c.h_kv},
                               {"s_k", c.s_k},
                               {"varlen", c.varied},
                               {"causal", c.causal},
                               {"dtype", c.dtype == SEESAW_FLOAT16 ? "float16" : "bfloat16"},
                               {"kv_format", c.dtype == SEESAW_FLOAT16 ? "float16" : "bfloat16"},
                               {"page_size", c.page_size},
                               {"l2", r.l2},
                               {"regime", r.regime},
                               {"us", r.call.us},
                               {"us_p10", r.call.us_p10},
                               {"us_p90", r.call.us_p90},
                               {"us_with_schedule", r.us_with_schedule},
                               {"us_schedule", r.us_schedule},
                               {"us_attention", r.us_attention},
                               {"us_combine", r.us_combine},
                               {"tflops", rates.tflops},
                               {"gbps", rates.gbps},
                               {"roof_fraction", rates.roof_fraction},
                               {"clock_mhz", r.call.power.clock_mhz},
                               {"power_w", r.call.power.power_w}});
  }
  std::ofstream file(path);
  file << json.dump(1) << "\n";
  if (!file) {
    throw std::runtime_error("cannot write " + path);
  }
}

}  // namespace seesaw::bench
