// What `seesaw compare` is asked for, and the settings and systems that this makes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compare/measure.hpp"
#include "compare/shape.hpp"
#include "compare/tradeoff.hpp"
#include "compare/weights.hpp"
#include "options.hpp"

namespace seesaw::tools {

struct CompareOptions {
  std::string device = "cpu";
  int32_t threads = 0;
  std::vector<std::string> phases = {"prefill", "decode"};
  std::vector<int64_t> batches = {1};
  std::vector<int64_t> heads = {16};
  std::vector<int64_t> lens = {512, 2048};
  std::vector<int64_t> latents;    // D'; none: head_dim
  std::vector<int64_t> d_latents;  // L; none: 4 head_dim
  std::vector<std::string> dtypes = {"fp32", "bf16"};
  int64_t head_dim = 64;
  int64_t d_model = 0;  // 0: heads * head_dim
  int64_t d_rope = 0;   // 0: head_dim / 2
  int64_t chunk = 1024;
  int64_t check_tokens = 128;
  TradeoffRules tradeoff;
  WeightFile weights;
  SyntheticSpectrum spectrum;
  int64_t fit_heads = 8;
  MeasureRules rules;
  bool causal = false;
  bool quick = false;
  bool claims = true;
  bool fit = true;
  std::optional<bool> counters;  // if typed; else on a GPU, with the claims
  std::string ncu;               // empty: found
  std::string for_counters;      // a layer: the run that ncu looks at
  bool progress = false;
  JsonOption json;
};

// Throws Failure for what makes no sense, before anything is measured.
void require_sense(const CompareOptions& options);

// Throws Failure for weights that no fit could read and ranks that they do not have.
void check_fit(const CompareOptions& options);

std::vector<Setting> make_settings(const CompareOptions& options);

// Multi-head attention first: speed-ups are over it.
std::vector<Contender> make_contenders(const CompareOptions& options, Phase phase);

// What the study notes' claims (python/seesaw/report/claims.json) are about, measured beside the
// rest: their shapes for the layers in `dtype`, and on a GPU what decode kernels are boasted of,
// DeepSeek's shape bound by arithmetic and by memory.
struct ClaimGroup {
  Setting setting;
  std::vector<Contender> contenders;
  int64_t calls = 1;  // of a run: several as in a stream, where launches overlap
};
std::vector<ClaimGroup> claim_groups(seesaw_dtype dtype, bool is_gpu);

// Multi-head attention, traditional MLA plain and chunked, as the notes have them.
std::vector<Contender> claim_contenders();

}  // namespace seesaw::tools
