#include "attention/cpu/tokens.hpp"

#include <algorithm>
#include <bit>

#include "base/float16.hpp"
#include "base/math.hpp"

namespace seesaw::attention::cpu {
namespace {

// Listed rows follow each other anywhere, so that the machine does not fetch ahead by itself: each
// is asked for so many tokens before it is packed.
constexpr int64_t kFetchAheadTokens = 8;

}  // namespace

void scale_words(const Microkernel& kernel, int64_t count, float factor, uint32_t* words) {
  for (int64_t i = 0; i < count; ++i) {
    if (kernel.elements_per_word == 1) {
      words[i] = std::bit_cast<uint32_t>(std::bit_cast<float>(words[i]) * factor);
      continue;
    }
    const auto scaled = [&](uint32_t bits) {
      const float value = to_float(BFloat16{static_cast<uint16_t>(bits)});
      return uint32_t{from_float<BFloat16>(value * factor).bits};
    };
    words[i] = scaled(words[i] & 0xFFFFU) | (scaled(words[i] >> 16) << 16);
  }
}

Packer::Packer(const Job& job, const Scratch& scratch)
    : kernel_(job.kernel), packed_(job.geometry.packed), scratch_(scratch) {}

// A few tokens at a time, so that values are made from keys that are in the first cache.
PackedTokens Packer::pack(const TokenList& list, bool paired, float key_scale) const {
  const StreamRows& rows = *list.rows;
  PackedTokens tokens{scratch_.keys, scratch_.values, scratch_.in_place, 0, rows.row_bytes()};
  for (int64_t tile = 0; tile < list.count; tile += kTileKeys) {
    const int64_t tile_end = std::min(tile + kTileKeys, list.count);
    const TokenRun first = list.run_at(tile, tile_end - tile).rows;
    const bool in_place = !rows.quantised() && kernel_.reads_in_place(packed_, first);
    scratch_.in_place[tile / kTileKeys] = in_place ? first.first : nullptr;
    if (!in_place) {
      pack_tile(list, tile, tile_end, key_scale);
    }
    tokens.count = tile_end;
    if (kernel_.values_follow_scores) continue;
    if (tokens.count % kernel_.value_tokens != 0 && tile_end != list.count) {
      continue;
    }
    if (!paired || tokens.count % kTileKeys != 0) {  // it also clears what a tile lacks
      kernel_.pack_values(packed_, tokens,
                          (tokens.count - 1) / kernel_.value_tokens * kernel_.value_tokens);
    }
  }
  return tokens;
}

void Packer::pack_tile(const TokenList& list, int64_t begin, int64_t end, float key_scale) const {
  const StreamRows& rows = *list.rows;
  for (int64_t at = begin; at < end;) {
    if (list.slots != nullptr && at + kFetchAheadTokens < list.count) {
      rows.fetch(list.slots[at + kFetchAheadTokens]);
    }
    const PageRun run = list.run_at(at, end - at);
    if (rows.quantised()) {
      kernel_.pack_records(packed_, rows.format(), rows.records_of(run), at, scratch_.keys);
    } else {
      kernel_.pack_keys(packed_, run.rows, rows.element_type(), at, scratch_.keys);
    }
    at += run.rows.count;
  }
  if (key_scale != 1.0F) {
    scale_keys(begin, end - begin, key_scale);
  }
}

void Packer::scale_keys(int64_t begin, int64_t count, float factor) const {
  for (int64_t block = 0; block < packed_.depth_blocks; ++block) {
    scale_words(
        kernel_, count * packed_.depth_block_words, factor,
        scratch_.keys + block * packed_.key_block_stride + begin * packed_.depth_block_words);
  }
}

NextRows Packer::next_rows(const StreamRows& rows, int64_t begin, int64_t end) const {
  for (int64_t token = begin; token < end; token += kTileKeys) {
    scratch_.next_rows[(token - begin) / kTileKeys] = rows.run_at(token, 1).rows.first;
  }
  return {scratch_.next_rows, std::max<int64_t>(end - begin, 0), rows.row_bytes()};
}

void Packer::clear_values(const PackedTokens& tokens, int64_t begin, int64_t end) const {
  const int64_t per_word = kernel_.elements_per_word;
  const int64_t column_blocks = ceil_div(packed_.d_v, kernel_.column_block);
  for (int64_t token = begin; token < end; ++token) {
    // The elements before this token in its word stay: they are its word's low bits.
    const int64_t bits = 32 / per_word * (token % per_word);
    const uint32_t keep = (uint32_t{1} << bits) - 1;
    for (int64_t block = 0; block < column_blocks; ++block) {
      uint32_t* words = tokens.values + block * packed_.value_block_stride +
                        token / per_word * kernel_.column_block;
      std::for_each(words, words + kernel_.column_block, [keep](uint32_t& word) { word &= keep; });
    }
  }
}

}  // namespace seesaw::attention::cpu
