#include "attention/cpu/layout.hpp"

#include <algorithm>

#include "base/math.hpp"

namespace seesaw::attention::cpu {
namespace {

constexpr size_t kAlignment = 256;

// Rows of one pass over an item's tokens. More rows make another pass: their accumulators alone
// (2 KB a row) would leave every cache.
constexpr int64_t kMaxGroupRows = 1024;

// Lays arrays one after another; with a null base it only counts.
class Carver {
 public:
  explicit Carver(char* base) : base_(base) {}

  template <typename T>
  T* take(int64_t count) {
    const size_t offset = size_;
    size_ += round_up(static_cast<size_t>(count) * sizeof(T), kAlignment);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset);
  }

  size_t size() const { return size_; }

 private:
  char* base_;
  size_t size_ = 0;
};

Scratch carve_scratch(const Geometry& geometry, const Microkernel& kernel, Carver& carver) {
  const PackedLayout& packed = geometry.packed;
  const int64_t group_vectors = geometry.group_rows / kernel.lanes;
  const int64_t block_vectors = kRowBlock / kernel.lanes;
  Scratch scratch{};
  scratch.joined = carver.take<char>(kernel.lanes * geometry.joined_bytes);
  scratch.query = carver.take<uint32_t>(group_vectors * packed.query_vector_stride);
  scratch.keys = carver.take<uint32_t>(packed.depth_blocks * packed.key_block_stride);
  scratch.values = kernel.values_are_keys
                       ? scratch.keys
                       : carver.take<uint32_t>(ceil_div(packed.d_v, kernel.column_block) *
                                               packed.value_block_stride);
  scratch.scores = carver.take<float>(block_vectors * packed.score_vector_stride);
  scratch.weights = carver.take<uint32_t>(block_vectors * packed.weight_vector_stride);
  scratch.output = carver.take<float>(geometry.group_rows * packed.output_stride);
  scratch.maximum = carver.take<float>(geometry.group_rows);
  scratch.sum = carver.take<float>(geometry.group_rows);
  scratch.rescale = carver.take<float>(kRowBlock);
  scratch.visible = carver.take<int32_t>(kRowBlock);
  scratch.in_place = carver.take<const void*>(geometry.chunk_tokens / kTileKeys);
  scratch.next_rows = carver.take<const void*>(geometry.chunk_tokens / kTileKeys);
  scratch.slots = carver.take<int64_t>(geometry.listed ? geometry.chunk_tokens : 0);
  scratch.max_logits = carver.take<float>(geometry.max_logits ? geometry.group_rows : 0);
  return scratch;
}

Partial carve_partial(const Geometry& geometry, Carver& carver) {
  Partial partial{};
  partial.output = carver.take<float>(geometry.total_rows * geometry.packed.output_stride);
  partial.maximum = carver.take<float>(geometry.total_rows);
  partial.sum = carver.take<float>(geometry.total_rows);
  partial.max_logits = carver.take<float>(geometry.max_logits ? geometry.total_rows : 0);
  return partial;
}

}  // namespace

bool sees_first_tokens(const Problem& problem) {
  return problem.num_streams == 1 && problem.streams[0].kind == StreamKind::kPages &&
         problem.masks.window == 0 && !problem.masks.tree;
}

Geometry make_geometry(const Problem& problem, const Microkernel& kernel, int64_t chunk_tokens) {
  Geometry geometry{};
  const int64_t vector_rows = round_up(problem.rows(), kernel.lanes);
  geometry.group_rows = std::min(vector_rows, kMaxGroupRows);
  geometry.total_rows = problem.h_kv * problem.rows();
  geometry.listed = !sees_first_tokens(problem);
  geometry.max_logits = problem.max_logits;
  geometry.joined_bytes = problem.d_rope > 0 ? problem.d_qk * size_of(problem.q_type) : 0;
  geometry.chunk_tokens =
      geometry.group_rows <= 32 ? kernel.chunk.few_rows : kernel.chunk.many_rows;
  if (chunk_tokens > 0) {
    geometry.chunk_tokens = chunk_tokens;
  }

  PackedLayout& packed = geometry.packed;
  packed.d_qk = problem.d_qk;
  packed.d_v = problem.d_v;
  packed.depth_blocks = ceil_div(problem.d_qk, kernel.depth_block);
  packed.value_vectors = ceil_div(problem.d_v, kernel.lanes);
  packed.depth_block_words = kernel.depth_block / kernel.elements_per_word;
  packed.key_block_stride = geometry.chunk_tokens * packed.depth_block_words + kWordsPerLine;
  const int64_t token_words = geometry.chunk_tokens / kernel.elements_per_word;
  packed.value_block_stride = kernel.values_are_keys
                                  ? packed.key_block_stride
                                  : token_words * kernel.column_block + kWordsPerLine;
  packed.query_vector_stride =
      packed.depth_blocks * packed.depth_block_words * kernel.lanes + kWordsPerLine;
  packed.score_vector_stride = geometry.chunk_tokens * kernel.lanes + kWordsPerLine;
  packed.weight_vector_stride = token_words * kernel.lanes + kWordsPerLine;
  packed.output_stride = packed.value_vectors * kernel.lanes + kernel.output_padding;
  return geometry;
}

size_t scratch_bytes(const Geometry& geometry, const Microkernel& kernel) {
  Carver carver(nullptr);
  carve_scratch(geometry, kernel, carver);
  return carver.size();
}

size_t partial_bytes(const Geometry& geometry) {
  Carver carver(nullptr);
  carve_partial(geometry, carver);
  return carver.size();
}

Scratch scratch_of(const Geometry& geometry, const Microkernel& kernel, void* workspace,
                   int32_t worker) {
  Carver carver(static_cast<char*>(workspace) +
                static_cast<size_t>(worker) * scratch_bytes(geometry, kernel));
  return carve_scratch(geometry, kernel, carver);
}

Partial partial_of(const Geometry& geometry, const Microkernel& kernel,
                   const split::SplitConfig& split, void* workspace, int64_t slot) {
  Carver carver(static_cast<char*>(workspace) +
                static_cast<size_t>(split.num_workers) * scratch_bytes(geometry, kernel) +
                static_cast<size_t>(slot) * partial_bytes(geometry));
  return carve_partial(geometry, carver);
}

}  // namespace seesaw::attention::cpu
