// The small vocabulary that an instruction set has to speak to run dense decoding. Everything above
// it (pieces.cpp, merge.cpp) is plain C++; everything below it is one file per instruction set.
//
// Packed data is made of 32-bit *words*. A word holds `elements_per_word` neighbours along the axis
// that a product sums over: one float, or two bfloat16 for an instruction that sums pairs. Vectors
// run along query rows in the first product and along columns in the second, so that neither needs
// a horizontal sum, and the softmax between them has its rows in lanes.
#pragma once

#include <cstdint>

#include "core/cache_format.hpp"
#include "core/tensor.hpp"

namespace seesaw::cpu {

inline constexpr int64_t kDepthBlock = 64;   // elements of a depth block of packed keys
inline constexpr int64_t kColumnBlock = 64;  // columns of a block of packed values; tiles have less
inline constexpr int64_t kMaxLanes = 16;     // floats of the widest vector
inline constexpr int64_t kTileKeys = 16;     // packed tokens are zero-filled to a multiple of it
inline constexpr int64_t kRowBlock = 128;    // rows whose scores are alive at once
inline constexpr int64_t kWordsPerLine = 16;  // of a 64-byte cache line

// Shapes and strides of packed data, in words. Strides between blocks have a cache line more than
// their contents, so that equal places of different blocks fall into different cache sets.
struct PackedLayout {
  int64_t d_qk;
  int64_t d_v;
  int64_t depth_blocks;          // ceil(d_qk / depth_block)
  int64_t depth_block_words;     // depth_block / elements_per_word
  int64_t value_vectors;         // vectors that cover d_v columns
  int64_t key_block_stride;      // between depth blocks of keys
  int64_t value_block_stride;    // between column blocks of values
  int64_t query_vector_stride;   // between row vectors of the query
  int64_t score_vector_stride;   // between row vectors of scores, floats
  int64_t weight_vector_stride;  // between row vectors of weights
  int64_t output_stride;         // between rows of the output accumulators, floats
};

// Tokens of one page, as the cache has them.
struct TokenRun {
  const void* first;     // row of the first token
  int64_t stride_bytes;  // between tokens
  int64_t count;
};

// Quantised tokens of one page, as the cache has them.
struct RecordRun {
  RecordView first;
  int64_t row_stride_bytes;
  int64_t count;
};

// The keys and values of a chunk of one sequence, or of a part of it.
struct PackedTokens {
  uint32_t* keys;    // [depth block][token][depth_block_words]
  uint32_t* values;  // [column block][token / elements_per_word][column_block]; may be the keys
  // [token / kTileKeys] the cache's row of a tile's first token, where the tile's rows are
  // multiplied where they lie (Microkernel::reads_in_place), or nullptr where they are packed.
  const void* const* in_place;
  int64_t count;      // tokens, before padding
  int64_t row_bytes;  // between the cache's rows
};

// The next chunk's rows, to be fetched while this one is multiplied. Only a hint: rows between two
// entries are taken to follow each other as they do in a page.
struct NextRows {
  const void* const* rows;  // [count / kTileKeys] first row of every tile
  int64_t count;            // tokens; 0: nothing to fetch
  int64_t stride_bytes;
};

// Scores of all tokens of a chunk for `row_vectors` vectors of query rows.
struct ScoreTask {
  const uint32_t* query;  // [row vector][d_qk / elements_per_word][lane]
  PackedTokens tokens;
  int64_t row_vectors;
  float* scores;  // [row vector][token][lane], unscaled
  NextRows next;  // for those that fetch here, and not while they accumulate
};

// One step of online softmax, base 2, for one vector of rows.
struct SoftmaxTask {
  const float* scores;  // [token][lane]
  uint32_t* weights;    // [token / elements_per_word][lane]: exp2(score * scale - maximum); for
                        // tiles of 32 tokens [lane][token / elements_per_word]
  int64_t tokens;
  const int32_t* visible;  // [lane] tokens of this chunk that the row attends; nullptr: all
  float scale_log2;        // scale * log2(e)
  float* maximum;          // [lane] running, of score * scale_log2, or a little less (a frame)
  float* sum;              // [lane] running, of weights before rounding
  float* rescale;          // [lane] out: what the row's accumulators are to be multiplied by
};

enum class Accumulators { kStart, kContinue };

// output[row] = rescale[row] * output[row] + weights[row] * values, for rows [row_begin, row_end).
struct AccumulateTask {
  const uint32_t* weights;  // [row vector][token / elements_per_word][lane]
  const uint32_t* values;
  int64_t tokens;
  int64_t row_begin;
  int64_t row_end;
  const float* rescale;       // [row]
  float* output;              // [row][output_stride]
  Accumulators accumulators;  // kStart: what `output` holds is ignored
  // The chunk, if its values are not packed: its tokens' rows are paired as they are multiplied,
  // for an even number of value vectors. nullptr: `values` has all.
  const PackedTokens* unpacked;
  NextRows next;
};

// What a microkernel changes of the calling thread's state, to be given back as it was.
struct SavedState {
  alignas(64) uint8_t bytes[64];
};

// Tokens of a chunk: of the first of a piece, which nothing has fetched ahead, and at most.
struct ChunkTokens {
  int64_t first;
  int64_t few_rows;  // at most 32
  int64_t many_rows;
};

struct Microkernel {
  const char* name;
  int64_t lanes;
  int64_t elements_per_word;
  bool values_are_keys;  // packed keys serve as packed values
  int64_t depth_block = kDepthBlock;
  int64_t column_block = kColumnBlock;
  int64_t value_tokens = kTileKeys;  // that pack_values makes at a time; a multiple of kTileKeys
  // Values are made when the first scores are done, which have fetched the keys: where keys are
  // read in place, nothing has done so before.
  bool values_follow_scores = false;
  int64_t unpacked_rows = 0;   // up to so many (one block) it can do with AccumulateTask::unpacked
  int64_t output_padding = 0;  // floats between the accumulators of two rows
  // Measured on a 1 MB second cache (docs/notebook/0040): with many rows a longer chunk spreads the
  // accumulators' trip to memory and back; with few there is little to spread, and a shorter chunk
  // and the one fetched behind it leave the cache room.
  ChunkTokens chunk = {.first = 64, .few_rows = 128, .many_rows = 192};

  // Called by each thread before its first and after its last call of what follows.
  void (*enter)(SavedState*) = [](SavedState*) {};
  void (*leave)(const SavedState&) = [](const SavedState&) {};
  // Row vector of the query: rows[lane] or nullptr for a row that is not there.
  void (*pack_query)(const PackedLayout&, const void* const* rows, DType, uint32_t* query);
  // Puts a run at token `begin` of the packed keys.
  void (*pack_keys)(const PackedLayout&, const TokenRun&, DType, int64_t begin, uint32_t* keys);
  // The same with a run of a quantised cache, as elements that this microkernel multiplies
  // (dequantize.hpp).
  void (*pack_records)(const PackedLayout&, const CacheFormat&, const RecordRun&, int64_t begin,
                       uint32_t* keys);
  // Whether a tile's rows, one after another, can stand in for packed keys.
  bool (*reads_in_place)(const PackedLayout&, const TokenRun&);
  // For tokens [begin, tokens.count): zero-fills up to a multiple of value_tokens, of which
  // `begin` is one, and makes the values from the keys.
  void (*pack_values)(const PackedLayout&, const PackedTokens& tokens, int64_t begin);
  void (*scores)(const PackedLayout&, const ScoreTask&);
  void (*softmax)(const SoftmaxTask&);
  void (*accumulate)(const PackedLayout&, const AccumulateTask&);
  // sum[i] = factor * values[i], or += it; `count` is padded to whole vectors.
  void (*scale_row)(const float* values, float factor, int64_t count, Accumulators, float* sum);
  // out[i] = dtype(factor * values[i]), exactly `count` elements.
  void (*store_row)(const float* values, float factor, int64_t count, DType, void* out);
};

// A thread's use of a microkernel, from here to the end of the scope.
class InUse {
 public:
  explicit InUse(const Microkernel& kernel) : kernel_(kernel) { kernel_.enter(&saved_); }
  ~InUse() { kernel_.leave(saved_); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  const Microkernel& kernel_;
  SavedState saved_;
};

// Instruction sets, least first. A higher one needs all that a lower one needs; the emulated one
// needs nothing, and is chosen by name only.
enum class Target : int32_t { kBaseline = 0, kAvx2, kAvx512, kAvx512Bf16, kAmx, kEmulatedAmx };

// The float microkernel of the best compiled instruction set that is <= target.
const Microkernel& float_microkernel(Target target);

// bfloat16 dot products; nullptr where they are not compiled.
const Microkernel* bf16_dot_microkernel();

// AMX's tiles of bfloat16; nullptr where they are not compiled.
const Microkernel* amx_microkernel();

// The same arithmetic in plain C++, far slower: for tests, and to reproduce bits.
const Microkernel& emulated_amx_microkernel();

}  // namespace seesaw::cpu
