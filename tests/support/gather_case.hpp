// A case of gather on the host: a cache of any format in which only the gathered tokens are
// written, all else is NaN; and the rows that have to come out, byte for byte.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/float16.hpp"
#include "core/cache_format.hpp"
#include "seesaw/ops/gather.h"

namespace seesaw::testing {

enum class GatherBy { kPages, kSlots, kNarrowSlots };  // slots of 64 bits or 32

struct GatherSpec {
  int32_t format = SEESAW_BFLOAT16;
  int32_t out_dtype = 0;  // 0: rows as they are stored
  GatherBy by = GatherBy::kPages;
  int64_t page_size = 64;
  int64_t columns = 576;                              // of plain formats
  std::vector<int64_t> lengths = {70, 0, 1, 0, 130};  // tokens to gather of each sequence
  std::vector<int64_t> starts = {};                   // empty: none given
  int64_t page_gap = 0;                               // elements behind a page
  int64_t token_gap = 0;                              // elements behind a token; not with tails
  int64_t out_gap = 0;                                // elements behind a row of out
  int64_t vector_stride = 1;                          // of cu_seq_lens, starts and slots
  int64_t shift = 0;                                  // bytes from an aligned address to the cache
  int64_t rows_behind = 3;                            // rows of out that no sequence has
  bool sparse_batch = false;                          // plan for more than the call brings
  uint64_t seed = 1;
};

class GatherCase {
 public:
  static constexpr unsigned char kOutByte = 0xA5;  // what out holds before
  static constexpr int64_t kSparePages = 2;

  explicit GatherCase(const GatherSpec& spec)
      : spec_(spec), format_(cache_format(spec.format, spec.columns)), random_(spec.seed) {
    size_cache();
    place_sequences();
    for (size_t i = 0; i < spec.lengths.size(); ++i) {
      for (int64_t j = 0; j < spec.lengths[i]; ++j) {
        token_slots_.push_back(write_token(i, start(i) + j));
      }
    }
    if (by_slots()) {
      choose_slots();
    }
    out.assign(static_cast<size_t>(rows() * out_stride() * out_size()), kOutByte);
    expected_ = out;
    for (int64_t r = 0; r < static_cast<int64_t>(token_slots_.size()); ++r) {
      expect_row(r, token_slots_[static_cast<size_t>(r)]);
    }
  }

  const GatherSpec& spec() const { return spec_; }
  const CacheFormat& format() const { return format_; }
  bool by_slots() const { return spec_.by != GatherBy::kPages; }
  bool copies() const { return out_type() == storage(); }
  int64_t batch() const { return static_cast<int64_t>(spec_.lengths.size()); }
  int64_t rows() const {
    return static_cast<int64_t>(token_slots_.size()) + (by_slots() ? 0 : spec_.rows_behind);
  }

  seesaw_gather_problem problem() const {
    const int64_t spare = spec_.sparse_batch ? 100 : 0;
    return {.kv_format = spec_.format,
            .out_dtype = spec_.out_dtype,
            .rows = std::max<int64_t>(rows(), 1) + spare,
            .batch = std::max<int64_t>(batch(), 1) + spare,
            .columns = is_plain(spec_.format) ? spec_.columns : 0,
            .page_size = spec_.page_size,
            .kv_page_stride = page_stride_,
            .kv_token_stride = token_stride_,
            .slot_dtype = spec_.by == GatherBy::kNarrowSlots ? SEESAW_INT32 : SEESAW_INT64};
  }

  // What a call reads and writes, where it lies: the case's own memory, or a copy of it.
  struct Memory {
    void* cache;
    void* block_table;
    void* cu_seq_lens;
    void* starts;
    void* slots;
    void* kv_scale;
    void* out;
  };
  Memory memory() {
    return {cache_.data(), block_table.data(), cu_seq_lens.data(), starts.data(),
            slots_.data(), &kv_scale,          out.data()};
  }
  struct Sizes {
    size_t cache, block_table, cu_seq_lens, starts, slots, kv_scale, out;
  };
  Sizes sizes() const {
    return {cache_.size(),     block_table.size() * 4, cu_seq_lens.size() * 4,
            starts.size() * 4, slots_.size(),          sizeof(kv_scale),
            out.size()};
  }
  seesaw_gather_args args(const Memory& at, seesaw_device device = kCpu) const {
    seesaw_gather_args args;
    args.kv_cache = make_tensor(static_cast<char*>(at.cache) + spec_.shift,
                                static_cast<seesaw_dtype>(storage()),
                                {num_pages_, spec_.page_size, token_elements(format_)}, device);
    args.kv_cache.stride[0] = page_stride_;
    args.kv_cache.stride[1] = token_stride_;
    const auto vector = [&](void* data, seesaw_dtype dtype, int64_t count) {
      seesaw_tensor tensor = make_tensor(data, dtype, {count}, device);
      tensor.stride[0] = spec_.vector_stride;
      return tensor;
    };
    if (by_slots()) {
      const bool narrow = spec_.by == GatherBy::kNarrowSlots;
      args.slots = vector(at.slots, narrow ? SEESAW_INT32 : SEESAW_INT64, rows());
    } else {
      args.block_table =
          make_tensor(at.block_table, SEESAW_INT32, {batch(), table_columns_}, device);
      args.block_table.stride[0] = table_columns_ + 1;
      args.cu_seq_lens = vector(at.cu_seq_lens, SEESAW_INT32, batch() + 1);
      if (!spec_.starts.empty()) {
        args.starts = vector(at.starts, SEESAW_INT32, batch());
      }
    }
    args.kv_scale = make_tensor(at.kv_scale, SEESAW_FLOAT32, {1}, device);
    args.out =
        make_tensor(at.out, static_cast<seesaw_dtype>(out_type()), {rows(), out_columns()}, device);
    args.out.stride[0] = out_stride();
    return args;
  }
  seesaw_gather_args host_args(seesaw_device device = kCpu) { return args(memory(), device); }

  // "" if out is what it has to be, gaps and rows behind included, else where it is not. A NaN
  // among numbers is any NaN; bytes are bytes.
  std::string compare() const {
    for (size_t i = 0; i < out.size(); i += static_cast<size_t>(out_size())) {
      if (std::memcmp(&out[i], &expected_[i], static_cast<size_t>(out_size())) == 0 ||
          (!copies() && std::isnan(number(out, i)) && std::isnan(number(expected_, i)))) {
        continue;
      }
      const auto row_bytes = static_cast<size_t>(out_stride() * out_size());
      return "out[" + std::to_string(i / row_bytes) + ", " +
             std::to_string(i % row_bytes / static_cast<size_t>(out_size())) +
             "] = " + text(out, i) + ", want " + text(expected_, i) + ", format " + format_.name +
             ", page size " + std::to_string(spec_.page_size);
    }
    return "";
  }
  // Row `row` is zeros.
  void expect_zeros(int64_t row) {
    std::memset(&expected_[static_cast<size_t>(row * out_stride() * out_size())], 0,
                static_cast<size_t>(out_columns() * out_size()));
  }
  void expect_nothing_written() { std::fill(expected_.begin(), expected_.end(), kOutByte); }

  int32_t& page(int64_t sequence, int64_t column) {
    return block_table[static_cast<size_t>(sequence * (table_columns_ + 1) + column)];
  }
  int32_t& first_row(int64_t sequence) {
    return cu_seq_lens[static_cast<size_t>(sequence * spec_.vector_stride)];
  }
  int64_t num_pages() const { return num_pages_; }
  int64_t table_columns() const { return table_columns_; }

 private:
  DType storage() const { return storage_of(spec_.format); }
  DType out_type() const {
    return spec_.out_dtype == 0 ? storage() : static_cast<DType>(spec_.out_dtype);
  }
  int64_t out_size() const { return size_of(out_type()); }
  int64_t out_columns() const {
    return out_type() == DType::kUInt8 ? format_.row_bytes + format_.tail_bytes : format_.columns();
  }
  int64_t out_stride() const { return out_columns() + spec_.out_gap; }
  int64_t start(size_t sequence) const { return spec_.starts.empty() ? 0 : spec_.starts[sequence]; }
  int64_t pages_of(size_t sequence) const {  // with those before its start
    const int64_t end = start(sequence) + spec_.lengths[sequence];
    return (end + spec_.page_size - 1) / spec_.page_size;
  }

  void size_cache() {
    int64_t used = 0;
    table_columns_ = 1;
    for (size_t i = 0; i < spec_.lengths.size(); ++i) {
      used += pages_of(i);
      table_columns_ = std::max(table_columns_, pages_of(i));
    }
    num_pages_ = used + kSparePages;
    const int64_t element = size_of(storage());
    token_stride_ = token_elements(format_) + (format_.tail_bytes > 0 ? 0 : spec_.token_gap);
    const int64_t packed = format_.tail_bytes > 0 ? format_.page_bytes(spec_.page_size)
                                                  : spec_.page_size * token_stride_;
    page_stride_ = packed + spec_.page_gap;
    cache_.assign(static_cast<size_t>(num_pages_ * page_stride_ * element + spec_.shift),
                  std::byte{0xFF});
  }

  void place_sequences() {
    const auto stride = static_cast<size_t>(spec_.vector_stride);
    std::vector<int32_t> ids(static_cast<size_t>(num_pages_));
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), random_);
    constexpr int32_t kNotRead = std::numeric_limits<int32_t>::min();
    block_table.assign(spec_.lengths.size() * static_cast<size_t>(table_columns_ + 1), kNotRead);
    cu_seq_lens.assign((spec_.lengths.size() + 1) * stride, kNotRead);
    starts.assign((spec_.lengths.size() + 1) * stride, kNotRead);
    size_t next = 0;
    int64_t row = 0;
    for (size_t i = 0; i < spec_.lengths.size(); ++i) {
      for (int64_t p = start(i) / spec_.page_size; p < pages_of(i); ++p) {
        page(static_cast<int64_t>(i), p) = ids[next++];
      }
      cu_seq_lens[i * stride] = static_cast<int32_t>(row);
      starts[i * stride] = static_cast<int32_t>(start(i));
      row += spec_.lengths[i];
    }
    cu_seq_lens[spec_.lengths.size() * stride] = static_cast<int32_t>(row);
  }

  // Where slot's record lies, by docs/cache-formats.md.
  RecordSlot record(int64_t slot) {
    std::byte* page =
        cache_.data() + spec_.shift + slot / spec_.page_size * page_stride_ * size_of(storage());
    const int64_t token = slot % spec_.page_size;
    if (format_.tail_bytes == 0) {
      return {page + token * token_stride_ * size_of(storage()), nullptr};
    }
    return {page + token * format_.row_bytes,
            page + spec_.page_size * format_.row_bytes + token * format_.tail_bytes};
  }

  void fill_with_any_bytes(std::byte* from, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      from[i] = static_cast<std::byte>(random_() >> 56);
    }
  }

  int64_t write_token(size_t sequence, int64_t token) {
    const int64_t slot =
        int64_t{page(static_cast<int64_t>(sequence), token / spec_.page_size)} * spec_.page_size +
        token % spec_.page_size;
    const RecordSlot to = record(slot);
    if (copies()) {
      fill_with_any_bytes(to.row, format_.row_bytes);
      fill_with_any_bytes(to.tail, format_.tail_bytes);
      return slot;
    }
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(format_.columns()));
    const float size = std::ldexp(1.0F, static_cast<int>(random_() % 40) - 24);
    for (float& value : values) {
      value = size * normal(random_);
    }
    write_record(format_, values.data(), ScaleRule::kExact, nullptr, kv_scale, to);
    if (token % 3 == 0) {  // every code of an element, NaN too
      fill_with_any_bytes(to.row + format_.latent.offset, format_.latent.size_bytes());
    }
    return slot;
  }

  // Any order of the tokens, one of them twice, and slots of no token.
  void choose_slots() {
    std::shuffle(token_slots_.begin(), token_slots_.end(), random_);
    if (!token_slots_.empty()) {
      const int64_t capacity = num_pages_ * spec_.page_size;
      token_slots_.insert(token_slots_.begin(), {token_slots_[0], -1, capacity});
      token_slots_.push_back(std::numeric_limits<int32_t>::min());
      token_slots_.push_back(std::numeric_limits<int32_t>::max());
    }
    const bool narrow = spec_.by == GatherBy::kNarrowSlots;
    if (!narrow && !token_slots_.empty()) {
      token_slots_.push_back(std::numeric_limits<int64_t>::max());
      token_slots_.push_back(std::numeric_limits<int64_t>::min());
      token_slots_.push_back(int64_t{1} << 32);  // 0, if cut to 32 bits
    }
    const size_t size = narrow ? 4 : 8;
    slots_.assign(token_slots_.size() * static_cast<size_t>(spec_.vector_stride) * size, 0x7F);
    for (size_t i = 0; i < token_slots_.size(); ++i) {
      unsigned char* to = &slots_[i * static_cast<size_t>(spec_.vector_stride) * size];
      const auto cut = static_cast<int32_t>(token_slots_[i]);
      std::memcpy(to, narrow ? static_cast<const void*>(&cut) : &token_slots_[i], size);
    }
  }

  void expect_row(int64_t r, int64_t slot) {
    unsigned char* row = &expected_[static_cast<size_t>(r * out_stride() * out_size())];
    if (slot < 0 || slot >= num_pages_ * spec_.page_size) {
      return expect_zeros(r);
    }
    const RecordSlot from = record(slot);
    if (copies()) {
      std::memcpy(row, from.row, static_cast<size_t>(format_.row_bytes));
      if (format_.tail_bytes > 0) {
        std::memcpy(row + format_.row_bytes, from.tail, static_cast<size_t>(format_.tail_bytes));
      }
      return;
    }
    std::vector<double> values(static_cast<size_t>(format_.columns()));
    read_record(format_, {from.row, from.tail}, static_cast<double>(kv_scale), values.data());
    for (size_t c = 0; c < values.size(); ++c) {
      const auto product = static_cast<float>(values[c]);
      const BFloat16 bf16 = from_float<BFloat16>(product);
      const Float16 fp16 = from_float<Float16>(product);
      const void* rounded = out_type() == DType::kBFloat16  ? static_cast<const void*>(&bf16)
                            : out_type() == DType::kFloat16 ? static_cast<const void*>(&fp16)
                                                            : &product;
      const auto size = static_cast<size_t>(out_size());
      std::memcpy(row + c * size, rounded, size);
    }
  }

  float number(const std::vector<unsigned char>& bytes, size_t at) const {
    uint16_t half;
    std::memcpy(&half, &bytes[at], 2);
    switch (out_type()) {
      case DType::kBFloat16:
        return to_float(BFloat16{half});
      case DType::kFloat16:
        return to_float(Float16{half});
      case DType::kFloat32: {
        float value;
        std::memcpy(&value, &bytes[at], 4);
        return value;
      }
      default:
        return static_cast<float>(bytes[at]);
    }
  }
  std::string text(const std::vector<unsigned char>& bytes, size_t at) const {
    return std::to_string(number(bytes, at));
  }

  GatherSpec spec_;
  CacheFormat format_;
  std::mt19937_64 random_;
  int64_t num_pages_ = 0;
  int64_t table_columns_ = 0;
  int64_t page_stride_ = 0;
  int64_t token_stride_ = 0;
  std::vector<std::byte> cache_;
  std::vector<unsigned char> slots_;
  std::vector<int64_t> token_slots_;  // of each row of out
  std::vector<unsigned char> expected_;

 public:
  std::vector<int32_t> block_table;  // entries that no token needs are no page's id
  std::vector<int32_t> cu_seq_lens;
  std::vector<int32_t> starts;
  float kv_scale = 0.37F;
  std::vector<unsigned char> out;
};

// Every format, by its number.
inline std::vector<int32_t> every_format() {
  std::vector<int32_t> ids = {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16};
  for (const CacheFormat& format : byte_formats()) {
    ids.push_back(format.id);
  }
  return ids;
}

}  // namespace seesaw::testing
