// Where everything lies: packed data, a worker's scratch, partial results, the whole workspace.
// Pure functions of the plan, so that planning and running agree by construction.
#pragma once

#include <cstddef>
#include <cstdint>

#include "attention/cpu/attention.hpp"

namespace seesaw::attention::cpu {

// Sizes of one problem on one microkernel.
struct Geometry {
  PackedLayout packed;
  int64_t chunk_tokens;  // tokens packed at a time, a multiple of the schedule's tile
  int64_t group_rows;    // rows of one pass over an item, padded to whole vectors
  int64_t total_rows;    // h_kv * s_q * group: rows of a partial result
  bool listed;           // some chunks' tokens are listed one by one: slots, or what a mask leaves
  bool max_logits;       // they are asked for
  int64_t joined_bytes;  // of a query row whose parts are joined before it is packed; 0: it is one
};

// Whether the tokens that a row sees of an item are always its first ones, in one block table: then
// chunks are packed page by page, and no accumulator is read before it was written.
bool sees_first_tokens(const Problem& problem);

// What one worker holds; each a pointer into its share of the workspace.
struct Scratch {
  char* joined;            // [lane][joined_bytes]
  uint32_t* query;         // [row vector][d_qk / elements_per_word][lane]
  uint32_t* keys;          // [depth block][token][words]
  uint32_t* values;        // [column block][token / elements_per_word][column_block], or the keys
  float* scores;           // [row vector][token][lane], of one row block
  uint32_t* weights;       // [row vector][token / elements_per_word][lane], of one row block
  float* output;           // [row][output_stride]
  float* maximum;          // [row] base-2 exponent
  float* sum;              // [row]
  float* rescale;          // [row of a row block]
  int32_t* visible;        // [row of a row block]
  const void** in_place;   // [token / kTileKeys] of this chunk, see PackedTokens
  const void** next_rows;  // [token / kTileKeys] of the next chunk, see NextRows
  int64_t* slots;          // [token] of this chunk, if tokens are listed
  float* max_logits;       // [row] running, if asked for
};

// One slot of partial results: output not yet divided by sum.
struct Partial {
  float* output;      // [total row][output_stride]
  float* maximum;     // [total row]
  float* sum;         // [total row]
  float* max_logits;  // [total row], if asked for
};

// chunk_tokens: 0 = as measured best.
Geometry make_geometry(const Problem& problem, const Microkernel& kernel, int64_t chunk_tokens = 0);

size_t scratch_bytes(const Geometry& geometry, const Microkernel& kernel);
size_t partial_bytes(const Geometry& geometry);

// The workspace: every worker's scratch, then the partial slots.
Scratch scratch_of(const Geometry& geometry, const Microkernel& kernel, void* workspace,
                   int32_t worker);
Partial partial_of(const Geometry& geometry, const Microkernel& kernel,
                   const split::SplitConfig& split, void* workspace, int64_t slot);

}  // namespace seesaw::attention::cpu
