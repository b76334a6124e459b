// Everything that `seesaw compare` found, as text for a terminal and as JSON. What follows from it
// (the study notes' claims, findings, figures) is drawn from the JSON by python/seesaw/report.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "compare/counters.hpp"
#include "compare/device_roofs.hpp"
#include "compare/measure.hpp"
#include "compare/tradeoff.hpp"
#include "machine.hpp"

namespace seesaw::tools {

struct PrecisionRow {
  Setting setting;
  Contender contender;
  MeasuredError result;
};

struct CompareReport {
  Machine machine;
  std::string command;
  std::string device;       // "cuda:0"
  std::string device_name;  // the product's
  int32_t threads = 0;
  double load = 0;   // before the start
  std::string date;  // of the start, UTC
  std::string memory_method;
  DeviceRoofs roofs;
  std::vector<Row> rows;  // groups one after another, each beginning with multi-head attention
  std::vector<Row> claim_rows;
  std::vector<PrecisionRow> precision;
  std::optional<Tradeoff> tradeoff;
  CountersReport counters;
  std::vector<std::string> left_out;  // steps that were not done, as the command was stopped
};

std::string compare_text(const CompareReport& report);
nlohmann::ordered_json compare_json(const CompareReport& report);

}  // namespace seesaw::tools
