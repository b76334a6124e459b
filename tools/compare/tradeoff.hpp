// Compression against error and speed: one multi-head attention layer, its fits of growing rank,
// and how each does.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "compare/fit.hpp"
#include "compare/measure.hpp"

namespace seesaw::tools {

inline constexpr std::array kFloatTypes = {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};

// An error that was measured, or why not.
struct MeasuredError {
  LayerError error;
  std::string why_not;
  uint64_t converted_products = 0;
};

// Runs a layer of `tokens` without a past and compares with `reference`.
MeasuredError measure_error(const Bench& bench, BaselineDescriptor descriptor,
                            const LayerInputs& inputs, const Values& reference);

struct TradeoffPoint {
  Contender contender;
  double compression = 1;   // multi-head attention's cache bytes a token / this one's
  double weight_error = 0;  // of the matrices that were cut
  double kept_energy = 1;
  // By kFloatTypes: against the given layer in double; against this form at full rank in double
  // (for DeepSeek's form the same thing).
  std::array<MeasuredError, 3> errors;
  std::array<MeasuredError, 3> own_errors;
  Row prefill;
  Row decode;
};

struct Tradeoff {
  std::string source;    // of the weights
  std::string left_out;  // of the file
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t d_model = 0;
  int64_t full_rank = 0;    // of DeepSeek's form: exact there
  int64_t full_latent = 0;  // of traditional MLA
  int64_t check_tokens = 0;
  int64_t len = 0;  // of the timed calls
  std::vector<double> spectrum;
  std::vector<TradeoffPoint> points;  // the first is the given layer
};

struct TradeoffRules {
  std::vector<int64_t> ranks;  // empty: full / 1, 2, 4 ... 64
  int64_t check_tokens = 256;
  int64_t len = 1024;
  seesaw_dtype dtype = SEESAW_FLOAT32;  // of the timed calls
};

// Throws Failure for a rank that no fit of these weights has.
void check_ranks(const std::vector<int64_t>& ranks, int64_t heads, int64_t head_dim,
                 int64_t d_model);

// How long the study of weights [heads * head_dim, heads * head_dim] will take, for progress.
double tradeoff_seconds(const Bench& bench, int64_t heads, int64_t head_dim,
                        const TradeoffRules& rules);

// Calls `step` before each of its kTradeoffParts parts.
inline constexpr int kTradeoffParts = 4;
Tradeoff measure_tradeoff(const Bench& bench, const HeadWeights& weights,
                          const TradeoffRules& rules,
                          const std::function<void(const std::string&)>& step);

}  // namespace seesaw::tools
