// The projections of one multi-head attention layer, from a file or made up: what `seesaw compare`
// compresses.
#pragma once

#include <cstdint>
#include <string>

#include "compare/matrix.hpp"

namespace seesaw::tools {

struct HeadWeights {
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t d_model = 0;
  Matrix q;  // [H D, d_model], as a Linear's weight
  Matrix k;
  Matrix v;
  Matrix out;            // [d_model, H D]
  std::string source;    // in words, for the report
  std::string left_out;  // what the file has and the fit does not use; empty if nothing
};

// Singular values that fall as (1 + i)^-decay, and rows of length about 1.
struct SyntheticSpectrum {
  int64_t heads = 8;
  int64_t head_dim = 64;
  double decay = 0.7;
  uint64_t seed = 0;
};
HeadWeights synthetic_weights(const SyntheticSpectrum& spectrum);

// From a safetensors file with a state_dict's names: PREFIXq_proj.weight, k_proj, v_proj, and
// out_proj or o_proj. Keys and values of fewer heads (grouped queries) are repeated for their
// group.
struct WeightFile {
  std::string path;
  std::string prefix;  // "model.layers.0.self_attn."
  int64_t heads = 0;
};
HeadWeights read_weights(const WeightFile& file);

// Throws Failure where the study of a layer with [rows, columns] projections would take more than
// half of the memory that is free; of a file, before its tensors are read.
void require_fit_memory(int64_t rows, int64_t columns);
void require_fit_memory(const WeightFile& file);

}  // namespace seesaw::tools
