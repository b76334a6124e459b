// Everything that `seesaw compare` found, and its three faces: terminal, JSON, HTML.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "compare/claims.hpp"
#include "compare/counters.hpp"
#include "compare/device_ceilings.hpp"
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
  std::string device;       // "cuda:0"
  std::string device_name;  // the product's
  int32_t threads = 0;
  double load = 0;   // before the start
  std::string date;  // of the start, UTC
  std::string memory_method;
  DeviceCeilings ceilings;
  std::vector<Row> rows;  // groups one after another, each beginning with multi-head attention
  std::vector<Row> claim_rows;
  std::vector<PrecisionRow> precision;
  std::optional<Tradeoff> tradeoff;
  CountersReport counters;
  seesaw_dtype claims_dtype = SEESAW_FLOAT32;  // of the layers that answer them
  std::vector<ClaimAnswer> claims;
};

// The rows of one setting: [begin, end) of a vector of rows.
struct Group {
  size_t begin = 0;
  size_t end = 0;
};
std::vector<Group> groups_of(const std::vector<Row>& rows);

// The shape of a traditional MLA row, as the notes' formulas take it.
NotesShape shape_of(const Row& row);

// A part of the report that is a table, for the terminal and for the page.
struct Section {
  std::string id;  // "systems"
  std::string title;
  std::string note;  // how to read it
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};
std::vector<Section> sections_of(const CompareReport& report);

// The main results in sentences.
std::vector<std::string> findings_of(const CompareReport& report);

std::string ceilings_text(const DeviceCeilings& ceilings);

std::string compare_text(const CompareReport& report);
nlohmann::ordered_json compare_json(const CompareReport& report);
std::string compare_html(const CompareReport& report);

}  // namespace seesaw::tools
