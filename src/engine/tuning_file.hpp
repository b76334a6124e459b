// Tuned numbers for the planner: what `seesaw tune` found best, for which device, kernel and class
// of shapes. The format is docs/tune.md's. Pure functions; api/tuning.hpp finds files and
// devices and makes plans.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw::split {

// What an entry was measured for; it is used where all of this is the same. Everything is known
// when planning: batch and tokens are the plan's maxima.
struct TuningKey {
  std::string device;  // name, number of units, instruction set
  std::string kernel;
  std::string q_dtype;
  std::string kv_dtype;
  int64_t h_kv = 0;
  int64_t rows = 0;  // of a KV head: s_q * h_q / h_kv
  int64_t d_qk = 0;
  int64_t d_v = 0;
  int64_t batch_class = 0;   // the least power of two that is no smaller than the batch
  int64_t tokens_class = 0;  // likewise of the tokens of a sequence
  int64_t threads = 0;       // CPU: workers asked for; GPU: 0

  bool operator==(const TuningKey&) const = default;
};

// The planner's numbers. A field that the entry does not set is the kernel's own.
struct Tuning {
  static constexpr int32_t kUnset = -1;
  int32_t num_workers = kUnset;       // at most as many as the kernel plans
  int32_t piece_cost_tiles = kUnset;  // see SplitConfig
  int32_t split_cost_tiles = kUnset;
  int32_t chunk_tokens = kUnset;  // CPU: tokens packed at a time

  bool operator==(const Tuning&) const = default;
};

struct TuningEntry {
  TuningKey key;
  Tuning tuning;
};

struct TuningTable {
  std::string version;  // of the library that the entries were measured with
  std::vector<TuningEntry> entries;
};

TuningKey tuning_key(const DenseDecodeProblem& problem, std::string_view device,
                     std::string_view kernel);

// The key as an entry's "match", one line of JSON.
std::string to_json(const TuningKey& key);

// "num_workers 2, chunk_tokens 256".
std::string to_text(const Tuning& tuning);

// Reads a whole file's text, strictly: unknown names, wrong types, numbers out of range and two
// entries for the same key are refused. `where` is for the message.
Status parse_tuning(std::string_view text, std::string_view where, TuningTable* table);

}  // namespace seesaw::split
