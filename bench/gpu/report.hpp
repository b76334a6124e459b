// The benchmark's results: a table on the screen as they come, and a JSON file.
#pragma once

#include <string>
#include <vector>

#include "decode_case.hpp"
#include "lab/roofs/gpu_roofs.hpp"
#include "lab/roofs/timer.hpp"

namespace seesaw::bench {

struct Result {
  DecodeCase decode_case;
  std::string kernel;
  const char* l2 = "warm";
  const char* regime = "short";
  Timing call{};                  // attention and combine; the schedule made before
  double us_with_schedule = 0.0;  // schedule, attention and combine; 0: not timed
  double us_schedule = 0.0;       // each kernel alone, 0: not timed or not launched
  double us_attention = 0.0;
  double us_combine = 0.0;
};

struct Machine {
  std::string device;
  std::string driver;
  std::string commit;
  std::string date;
  double power_limit_w = 0.0;
  int32_t num_sms = 0;
};

void print_roofs(const Machine& machine, const Roofs& roofs);
void print_header();
void print_result(const Result& result, const Roofs& roofs);

// Everything, in the form that bench/results keeps.
void write_json(const std::string& path, const Machine& machine, const Roofs& roofs,
                const std::vector<Result>& results);

}  // namespace seesaw::bench
