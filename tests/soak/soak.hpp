// What the soaks of the CPU and of the GPU share: flags, the watch over memory and counters, and
// the record at the end. A soak runs in epochs; nothing of an epoch outlives it, so what memory is
// in use between two of them must not grow.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "seesaw/seesaw.hpp"

namespace seesaw::soak {

struct Flags {
  double seconds = 10;
  uint64_t seed = 1;
  int32_t threads = 2;
  std::string record = {};  // a file; empty: standard output
};

// --minutes M, --seconds S, --seed N, --threads T, --record FILE. Throws std::invalid_argument.
Flags parse_flags(int argc, char** argv);

// What one thread did in an epoch, or all of them. Of one kernel: the one that is soaked.
struct Totals {
  uint64_t plans = 0;
  uint64_t prepares = 0;
  uint64_t runs = 0;     // that returned SEESAW_OK
  uint64_t refused = 0;  // runs that had to be refused, and were
  uint64_t replays = 0;  // of graphs: no calls
  uint64_t sequences = 0;
  uint64_t kv_tokens = 0;
  uint64_t pieces = 0;
  uint64_t compared = 0;  // runs held against the reference
  double worst = 0;       // the largest error, in its bounds
  double worst_cosine = 0;

  Totals& operator+=(const Totals& other);
};

// Bytes at the end of an epoch.
struct Memory {
  uint64_t resident = 0;
  uint64_t heap = 0;    // in use; 0 where a sanitizer's allocator does not say
  uint64_t device = 0;  // in use on the GPU
};
Memory host_memory();

// One epoch: work until `seconds` have passed, on as many threads as asked for; then everything is
// gone again. `epoch` counts from 0.
using Epoch = std::function<Totals(uint64_t epoch, double seconds)>;

struct Soak {
  const char* name;    // of the record
  const char* kernel;  // whose counters are checked
  Epoch run;
  std::function<Memory()> memory = host_memory;
};

// Runs epochs for as long as asked, checks counters and memory after each, writes the record. The
// result is the program's: 0, or 1 after a failure, which is printed.
int run_soak(const Soak& soak, const Flags& flags);

// Starts `threads` threads with what `work` does as number 0, 1, ...; adds up, and throws what the
// first of them threw.
Totals on_threads(int32_t threads, const std::function<Totals(int32_t)>& work);

}  // namespace seesaw::soak
