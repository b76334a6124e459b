// Where the tokens of an item lie: through a block table or a list of slots, page by page.
#pragma once

#include <cstdint>

#include "attention/cpu/job.hpp"

namespace seesaw::attention::cpu {

// Neighbouring tokens of one page.
struct PageRun {
  TokenRun rows;
  int64_t first_slot;  // of the page
};

// One stream of one item, for one KV head.
class StreamRows {
 public:
  StreamRows() = default;
  StreamRows(const Job& job, size_t stream, int64_t item, int64_t kv_head)
      : shape_(&job.problem().streams[stream]),
        stream_(&job.call.streams[stream]),
        ids_(ids_of(job.problem(), *stream_, item)),
        head_(static_cast<const std::byte*>(stream_->cache) + kv_head * stream_->head_stride_bytes),
        quantised_(!is_plain(shape_->format.id)) {}

  const CacheFormat& format() const { return shape_->format; }
  bool quantised() const { return quantised_; }
  bool in_pages() const { return shape_->kind == StreamKind::kPages; }
  int64_t row_bytes() const { return stream_->row_stride_bytes; }
  DType element_type() const { return static_cast<DType>(shape_->format.id); }  // if not quantised

  // Of a stream in pages: up to `count` tokens from `token` on that lie in one page.
  PageRun run_at(int64_t token, int64_t count) const {
    const int64_t slot = token % shape_->page_size;
    return {
        run_in(ids_[token / shape_->page_size], slot, std::min(shape_->page_size - slot, count)),
        slot};
  }

  // Of listed tokens: those of the first of `count` slots, and of the next ones while they follow
  // each other in its page.
  PageRun run_of(const int64_t* slots, int64_t count) const {
    const int64_t page = slots[0] / shape_->page_size;
    const int64_t slot = slots[0] % shape_->page_size;
    const int64_t most = std::min(shape_->page_size - slot, count);
    int64_t length = 1;
    while (length < most && slots[length] == slots[0] + length) {
      ++length;
    }
    return {run_in(page, slot, length), slot};
  }

  // The slot of a token; -1 if it has none.
  int64_t slot_of(int64_t token) const {
    return attention::slot_of(*shape_, *stream_, ids_, token);
  }

  // Asks for the row of a slot.
  void fetch(int64_t slot) const {
    constexpr int64_t kLineBytes = 64;
    const int64_t page = slot / shape_->page_size;
    const auto* row = static_cast<const char*>(run_in(page, slot % shape_->page_size, 1).first);
    for (int64_t byte = 0; byte < shape_->format.row_bytes; byte += kLineBytes) {
      __builtin_prefetch(row + byte);
    }
  }

  // The records of a run.
  RecordRun records_of(const PageRun& run) const {
    const auto* page =
        static_cast<const std::byte*>(run.rows.first) - run.first_slot * stream_->row_stride_bytes;
    return {record_at(shape_->format, page, shape_->page_size, stream_->row_stride_bytes,
                      run.first_slot),
            stream_->row_stride_bytes, run.rows.count};
  }

 private:
  TokenRun run_in(int64_t page, int64_t slot, int64_t count) const {
    return {head_ + page * stream_->page_stride_bytes + slot * stream_->row_stride_bytes,
            stream_->row_stride_bytes, count};
  }

  const StreamShape* shape_ = nullptr;
  const Stream* stream_ = nullptr;
  const int32_t* ids_ = nullptr;
  const std::byte* head_ = nullptr;
  bool quantised_ = false;
};

// The tokens that are packed: `count` of a stream in pages from `begin` on, or the listed ones.
struct TokenList {
  const StreamRows* rows;
  int64_t begin;
  int64_t count;
  const int64_t* slots = nullptr;

  PageRun run_at(int64_t index, int64_t most) const {
    return slots == nullptr ? rows->run_at(begin + index, most) : rows->run_of(slots + index, most);
  }
};

// Packs tokens into a worker's scratch: step [2] of README.md.
class Packer {
 public:
  Packer(const Job& job, const Scratch& scratch);

  // `paired`: values are paired while they are accumulated, not packed. key_scale: what quantised
  // keys are multiplied by, 1 if it is left to the scores and the results.
  PackedTokens pack(const TokenList& list, bool paired, float key_scale) const;

  // The rows of tokens [begin, end) of a stream in pages, to be fetched ahead.
  NextRows next_rows(const StreamRows& rows, int64_t begin, int64_t end) const;

  // Zeroes the packed values of tokens [begin, end).
  void clear_values(const PackedTokens& tokens, int64_t begin, int64_t end) const;

 private:
  void pack_tile(const TokenList& list, int64_t begin, int64_t end, float key_scale) const;
  void scale_keys(int64_t begin, int64_t count, float factor) const;

  const Microkernel& kernel_;
  const PackedLayout& packed_;
  const Scratch& scratch_;
};

// Multiplies packed words by a number.
void scale_words(const Microkernel& kernel, int64_t count, float factor, uint32_t* words);

}  // namespace seesaw::attention::cpu
