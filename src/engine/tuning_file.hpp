// Tuning files: what `seesaw tune` found best, for which device, kernel and class of shapes. The
// format is docs/tune.md's. Pure functions; tuning.hpp finds files and applies them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.hpp"
#include "core/operation.hpp"

namespace seesaw::engine {

// What an entry was measured for; it is used where all of this is the same. Everything is known
// when planning: the fields of the problem that its table marks, beside device, kernel and threads.
struct TuningKey {
  std::string device;
  std::string kernel;
  std::string text;   // all of it, as an entry's "match": one line of JSON in the table's order
  std::string match;  // the same with sorted names: keys are equal if these are
};

TuningKey tuning_key(const Operation& operation, const void* problem, const Options& options,
                     std::string_view device, std::string_view kernel);

struct TuningEntry {
  TuningKey key;
  std::vector<std::pair<std::string, int32_t>> values;  // by name of the knob
};

struct TuningTable {
  std::string version;  // of the library that the entries were measured with
  std::vector<TuningEntry> entries;
};

// Reads a whole file's text, strictly: unknown names, wrong types, numbers out of range and two
// entries for the same key are refused. Entries for kernels that this build lacks are read, but
// what they match and set cannot be checked. `where` is for the message.
Status parse_tuning(std::string_view text, std::string_view where, TuningTable* table);

// "num_workers 2, chunk_tokens 256".
std::string to_text(const TuningEntry& entry);

}  // namespace seesaw::engine
