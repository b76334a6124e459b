// The search of `seesaw tune`: which setting of a few knobs is fastest. Knows nothing of kernels:
// it asks for samples and decides, so that tests can give it a made-up machine.
//
// One knob after another, all its values race: a sample of each in turn, so that a machine that
// gets slower or faster in between does so for all; values that are clearly slower drop out. The
// best becomes the setting from which the next knob is tried, until a whole round of knobs changes
// nothing. Then the default and the best alone are compared, pair by pair.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lab/statistics.hpp"
#include "laboratory.hpp"

namespace seesaw::tools {

// Values of knobs that differ from the default. Empty: the default.
using Setting = std::map<std::string, int32_t>;

struct Knob {
  std::string name;
  std::vector<int32_t> values;
};

// What the search measures.
class Tunable {
 public:
  Tunable() = default;
  Tunable(const Tunable&) = delete;
  Tunable& operator=(const Tunable&) = delete;
  virtual ~Tunable() = default;

  // What the setting does, as text: settings that do the same are measured once. Empty: it cannot
  // be run at all.
  virtual std::string fingerprint(const Setting& setting) = 0;
  virtual double sample_us(const Setting& setting) = 0;
  // These settings come next; what was prepared for others can go.
  virtual void keep_only(const std::vector<Setting>& settings) = 0;
};

struct SearchLimits {
  double budget_seconds = 30;
  std::function<double()> elapsed_seconds;
  std::function<bool()> stop;                      // early, keeping what was found
  std::function<void(const std::string&)> report;  // progress: what is being tried
};

struct Tried {
  Setting setting;
  Spread us;
  int64_t samples = 0;
};

struct SearchResult {
  Setting best;  // empty unless it was faster than the default beyond the noise
  Spread default_us;
  Spread best_us;
  Spread speedup;   // of the pairs, default over the fastest setting found
  double wins = 0;  // fraction of pairs in which that one was faster
  int64_t pairs = 0;
  Setting contender;         // the fastest setting found, whether or not it was worth it
  std::vector<Tried> tried;  // of every race, the default first
  bool stopped = false;      // early, by request
};

SearchResult search(Tunable& tunable, const std::vector<Knob>& knobs, const SearchLimits& limits);

// "chunk_tokens 256, num_workers 1", or "default".
std::string setting_text(const Setting& setting);

}  // namespace seesaw::tools
