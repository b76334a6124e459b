// What the study notes claim, with where; and what this run says to it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compare/counters.hpp"
#include "compare/formula.hpp"
#include "compare/measure.hpp"

namespace seesaw::tools {

// What can be held against a claim.
enum class ClaimKind {
  kIdealRatio,     // a ratio of the cost model without overheads
  kRatio,          // with them
  kOverheadRatio,  // overheads / ideal operations
  kSpeedUp,        // of traditional MLA over multi-head attention, measured
  kEfficiency,     // speed-up / heads
  kMemory,         // gigabytes
  kMhaTime,        // ms
  kMlaTime,        // ms
  kMlaBandwidth,   // GB/s that traditional MLA reaches
  kMlaBandwidthFraction,
  kDecodeRate,               // TFLOPS of the decode kernel
  kDecodeBandwidth,          // GB/s of the decode kernel
  kDecodeBandwidthFraction,  // of the device's
  kCounter,                  // per cent, of a traditional layer's call
  kElsewhere                 // needs another device or another program
};

struct Claim {
  const char* source;  // part and row of the notes
  const char* text;
  const char* printed;
  double low = 0;  // the printed value, or its range
  double high = 0;
  ClaimKind kind = ClaimKind::kElsewhere;
  NotesShape shape = {};
  Counter counter = Counter::kL1Hits;  // of kCounter
};
const std::vector<Claim>& notes_claims();

// The shapes of the claims that a measurement can answer, each once.
std::vector<NotesShape> claim_shapes();
// The shape of those that hardware counters answer.
NotesShape counters_shape();
Setting setting_of(const NotesShape& shape, seesaw_dtype dtype);
// Multi-head attention, traditional MLA plain and chunked: a group's contenders.
std::vector<Contender> claim_contenders(const NotesShape& shape);

// What a GPU's decode kernel is put to for the claims about it: DeepSeek's shape, bound by
// arithmetic (256 query rows: two new tokens of 128 heads) and by memory (16).
struct DecodeClaim {
  Setting setting;
  Contender contender;
};
std::vector<DecodeClaim> decode_claims();

struct ClaimAnswer {
  Claim claim;
  std::optional<double> formula;  // the notes' own model, evaluated
  std::optional<double> counted;  // this library's count of the same
  std::optional<double> plain;    // measured: traditional MLA, materialised
  std::optional<double> chunked;  // measured: its chunked form
  std::optional<double> mha;      // measured: multi-head attention, where it has the quantity
  std::string verdict;
};

// `rows`: of claim_shapes' groups and of everything else that was measured; layers count in `dtype`
// alone, the decode kernel in every one. `is_gpu`: of the device.
std::vector<ClaimAnswer> answer_claims(const std::vector<Row>& rows, const CountersReport& counters,
                                       seesaw_dtype dtype, bool is_gpu);

}  // namespace seesaw::tools
