// What `seesaw compare` compares: the systems, and the shapes that they are put to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "laboratory.hpp"
#include "seesaw/baselines.hpp"
#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

enum class System { kMha, kTraditional, kChunked, kExpanded, kAbsorbed, kDenseDecode };

const char* name_of(System system);   // "traditional_mla", as in the library; "dense_decode"
const char* title_of(System system);  // "traditional MLA", for people

// Prefill: all tokens are new. Decode: one is, the others are in the cache.
enum class Phase { kPrefill, kDecode };
const char* name_of(Phase phase);

// One problem that all systems of a group solve: `len` keys a sequence.
struct Setting {
  Phase phase = Phase::kPrefill;
  int64_t batch = 1;
  int64_t len = 1024;
  int64_t heads = 16;
  int64_t head_dim = 64;
  int64_t width = 0;  // columns of x; 0: heads * head_dim
  int64_t chunk_size = 1024;
  seesaw_dtype dtype = SEESAW_FLOAT32;
  bool causal = false;
  bool bias = true;  // of multi-head attention and traditional MLA, as the notes have them

  int64_t d_model() const { return width > 0 ? width : heads * head_dim; }
  int64_t new_tokens() const { return phase == Phase::kPrefill ? len : 1; }
  int64_t past() const { return len - new_tokens(); }
  std::string text() const;  // "prefill b 1 len 1024 heads 16x64 fp32"
};

// A system with its latent sizes: D' of traditional MLA, L and R of DeepSeek's; 0 where unused.
struct Contender {
  System system = System::kMha;
  int64_t latent = 0;
  int64_t rope = 0;

  std::string text() const;  // "traditional MLA, D' 64"
};

// Where layers run.
struct Place {
  seesaw_device device = kCpu;
  int32_t threads = 0;
};

// The layer as the library describes it. Not for kDenseDecode.
BaselineDescriptor layer_of(const Setting& setting, const Contender& contender, const Place& place);

// The attention of absorbed MLA alone, over a paged cache. Only for kDenseDecode.
struct DecodeProblem {
  seesaw_dense_decode_problem problem;
  seesaw_options options;
};
DecodeProblem decode_of(const Setting& setting, const Contender& contender, const Place& place);
std::vector<int32_t> lengths_of(const Setting& setting);  // of its sequences

// What a call costs, by counting. See seesaw_baseline_cost for the rules.
struct Prediction {
  double operations = 0;
  double attention_operations = 0;  // of these, Q K^T and P V
  double bytes = 0;
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;
  uint64_t workspace_bytes = 0;  // most intermediates at once
  uint64_t score_bytes = 0;      // of these, scores and probabilities
  uint64_t cache_bytes_per_token = 0;
};
Prediction predict(const Setting& setting, const Contender& contender, const Place& place);

}  // namespace seesaw::tools
