#include "lab/decode_case.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "lab/elements.hpp"
#include "lab/pages.hpp"
#include "lab/random.hpp"

namespace seesaw::lab {
namespace {

constexpr int64_t kUnownedPages = 3;

}  // namespace

std::string describe(const DecodeSpec& spec) {
  constexpr size_t kShown = 12;
  const size_t shown = std::min(kShown, spec.seq_lens.size());
  const std::vector<int32_t> lengths(spec.seq_lens.begin(),
                                     spec.seq_lens.begin() + static_cast<ptrdiff_t>(shown));
  return fmt::format(
      "b {} lengths {}{} s_q {} h_q {} h_kv {} d_qk {} d_v {} page {} dtype {} format {} causal {} "
      "window {} tree {} sinks {} soft_cap {} query_lens {} scale {} seed {} values {}",
      spec.batch(), lengths, shown < spec.seq_lens.size() ? "..." : "", spec.s_q, spec.h_q,
      spec.h_kv, spec.d_qk, spec.d_v, spec.page_size, static_cast<int>(spec.q_dtype),
      format_name(spec.format()), spec.causal, spec.window, spec.tree, !spec.sinks.empty(),
      spec.soft_cap, spec.query_lens, spec.scale, spec.seed, name_of(spec.values));
}

struct DecodeCase::Pool {
  Pool(size_t bytes, bool reserve, unsigned char poison) : size(bytes), reserved(reserve) {
    if (!reserve) {
      heap.assign(bytes, poison);
      data = heap.data();
      return;
    }
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      throw std::runtime_error(fmt::format("cannot reserve {} bytes of address space", bytes));
    }
    data = static_cast<unsigned char*>(mapped);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    if (reserved) {
      munmap(data, size);
    }
  }

  size_t size;
  bool reserved;
  std::vector<unsigned char> heap;  // exactly the bytes needed: AddressSanitizer sees any excess
  unsigned char* data = nullptr;
};

DecodeCase::DecodeCase(const DecodeSpec& spec) : spec_(spec) {
  constexpr int32_t kNoLength = INT32_MAX;  // between the lengths
  seq_lens_.assign(static_cast<size_t>(spec_.batch() * (1 + spec_.gaps.lengths)), kNoLength);
  for (int64_t i = 0; i < spec_.batch(); ++i) {
    set_length(i, spec_.seq_lens[static_cast<size_t>(i)]);
  }
  token_stride_ = spec_.h_kv * token_columns(spec_.format(), spec_.d_qk) + spec_.gaps.kv_token;
  page_stride_ = std::max(spec_.page_size * token_stride_, page_elements()) + spec_.gaps.kv_page;
  build_block_table();
  for (int64_t i = 0; spec_.ragged() && i <= spec_.batch(); ++i) {
    cu_seqlens_q_.push_back(static_cast<int32_t>(spec_.query_begin(i)));
  }
  fill_query();
  fill_tree();
  fill_cache();
}

void DecodeCase::build_block_table() {
  const int64_t most =
      spec_.seq_lens.empty()
          ? 0
          : pages_of(*std::max_element(spec_.seq_lens.begin(), spec_.seq_lens.end()),
                     spec_.page_size);
  max_pages_ = spec_.table_pages > 0 ? std::max(most, spec_.table_pages)
                                     : std::max<int64_t>(most + spec_.spare_pages, 1);
  const PageTable pages = place_pages(spec_.seq_lens, spec_.page_size, max_pages_, kUnownedPages,
                                      Random(spec_.page_seed));
  num_pages_ = static_cast<int64_t>(pages.owners.size());
  constexpr int32_t kNoPage[] = {INT32_MAX, -1, INT32_MIN, 1 << 30};
  block_table_.assign(table_index(spec_.batch(), 0), kNoPage[0]);
  for (int64_t i = 0; i < spec_.batch(); ++i) {
    for (int64_t p = 0; p < max_pages_; ++p) {
      const int32_t id = pages.entries[static_cast<size_t>(i * max_pages_ + p)];
      block_table_[table_index(i, p)] = id >= 0 ? id : kNoPage[(i + p) % 4];
    }
  }
}

void DecodeCase::fill_query() {
  const int64_t rows = spec_.total_queries() * spec_.h_q;
  const int64_t elements = rows == 0 ? 0 : rows * (spec_.d_qk + spec_.gaps.q) - spec_.gaps.q;
  query_.assign(static_cast<size_t>(elements) * size_of(spec_.q_dtype), spec_.poison);
  for (int64_t i = 0; i < spec_.batch(); ++i) {
    const uint64_t id = mix(spec_.seed * 2, spec_.first_id + static_cast<uint64_t>(i));
    for (int64_t r = 0; r < spec_.query_tokens(i) * spec_.h_q; ++r) {
      const uint64_t row = mix(id, static_cast<uint64_t>(r));
      for (int64_t c = 0; c < spec_.d_qk; ++c) {
        const float drawn = draw(spec_.values, mix(row + static_cast<uint64_t>(c)));
        const float value = query_element(spec_.values, drawn, {0, c, spec_.d_v});
        set_query(i, r / spec_.h_q, r % spec_.h_q, c, spec_.query_magnitude * value);
      }
    }
  }
}

// Bits past the last query token are drawn like the others: they say nothing.
void DecodeCase::fill_tree() {
  constexpr int64_t kMoreBytes = 2;  // than are needed
  tree_bytes_ = (spec_.s_q + 7) / 8 + kMoreBytes;
  tree_.resize(spec_.tree ? static_cast<size_t>(spec_.total_queries() * tree_bytes_) : 0);
  for (size_t i = 0; i < tree_.size(); ++i) {
    tree_[i] = static_cast<uint8_t>(mix(spec_.seed * 2 + 7, i));
  }
}

const uint8_t* DecodeCase::tree_row(int64_t sequence, int64_t token) const {
  return tree_.data() + (spec_.query_begin(sequence) + token) * tree_bytes_;
}

bool DecodeCase::tree_bit(int64_t sequence, int64_t token, int64_t k) const {
  return (tree_row(sequence, token)[k / 8] >> (k % 8) & 1) != 0;
}

// What the last page spans: nothing follows it.
int64_t DecodeCase::page_elements() const {
  if (is_quantised(spec_.format())) {
    return page_span(spec_.format(), spec_.page_size, spec_.h_kv, token_stride_);
  }
  return (spec_.page_size - 1) * token_stride_ + spec_.h_kv * spec_.d_qk;
}

// Only what pages cover: the rest has no memory behind it.
void DecodeCase::poison_sparse_pages() {
  const auto size = static_cast<size_t>(column_bytes(spec_.format()));
  for (int64_t page = 0; page < num_pages_; ++page) {
    std::memset(pool_->data + static_cast<size_t>(page * page_stride_) * size, spec_.poison,
                static_cast<size_t>(page_elements()) * size);
  }
}

void DecodeCase::fill_cache() {
  const int64_t elements = (num_pages_ - 1) * page_stride_ + page_elements();
  pool_ = std::make_shared<Pool>(static_cast<size_t>(elements * column_bytes(spec_.format())),
                                 spec_.sparse_pool, spec_.poison);
  if (spec_.sparse_pool) {
    poison_sparse_pages();
  }
  std::vector<float> record(static_cast<size_t>(spec_.d_qk));
  for (int64_t i = 0; i < spec_.batch(); ++i) {
    const uint64_t id = mix(spec_.seed * 2 + 1, spec_.first_id + static_cast<uint64_t>(i));
    for (int64_t t = 0; t < spec_.length(i); ++t) {
      const uint64_t token = mix(id, static_cast<uint64_t>(t));
      for (int64_t c = 0; c < spec_.h_kv * spec_.d_qk; ++c) {
        const float drawn = draw(spec_.values, mix(token + static_cast<uint64_t>(c)));
        const Place place{t, c % spec_.d_qk, spec_.d_v};
        const float value = key_element(spec_.values, drawn, place);
        if (!is_quantised(spec_.format())) {
          set_key(i, t, c / spec_.d_qk, place.column, value);
          continue;
        }
        record[static_cast<size_t>(place.column)] = value;
        if (place.column + 1 == spec_.d_qk) {
          set_record(i, t, c / spec_.d_qk, record.data());
        }
      }
    }
  }
}

size_t DecodeCase::table_index(int64_t sequence, int64_t page) const {
  return static_cast<size_t>(sequence * (max_pages_ + spec_.gaps.table) + page);
}

size_t DecodeCase::query_index(int64_t sequence, int64_t token, int64_t head,
                               int64_t column) const {
  const int64_t row = (spec_.query_begin(sequence) + token) * spec_.h_q + head;
  return static_cast<size_t>(row * (spec_.d_qk + spec_.gaps.q) + column);
}

size_t DecodeCase::key_index(int64_t sequence, int64_t token, int64_t kv_head,
                             int64_t column) const {
  const int64_t page = block_table_[table_index(sequence, token / spec_.page_size)];
  return static_cast<size_t>(page * page_stride_ + token % spec_.page_size * token_stride_ +
                             kv_head * spec_.d_qk + column);
}

RecordPlace DecodeCase::record_place(int64_t sequence, int64_t token, int64_t kv_head) const {
  const int64_t page = block_table_[table_index(sequence, token / spec_.page_size)];
  return {reinterpret_cast<std::byte*>(pool_->data) + page * page_stride_ +
              kv_head * token_columns(spec_.format(), spec_.d_qk),
          spec_.page_size, token_stride_, token % spec_.page_size};
}

void DecodeCase::set_record(int64_t sequence, int64_t token, int64_t kv_head, const float* values) {
  store_record(spec_.format(), values, spec_.scale_rule, spec_.kv_scale,
               record_place(sequence, token, kv_head));
}

void DecodeCase::set_query(int64_t sequence, int64_t token, int64_t head, int64_t column,
                           float value) {
  store_element(query_.data(), spec_.q_dtype, query_index(sequence, token, head, column), value);
}

void DecodeCase::set_key(int64_t sequence, int64_t token, int64_t kv_head, int64_t column,
                         float value) {
  store_element(pool_->data, spec_.kv_dtype, key_index(sequence, token, kv_head, column), value);
}

float DecodeCase::query(int64_t sequence, int64_t token, int64_t head, int64_t column) const {
  return load_element(query_.data(), spec_.q_dtype, query_index(sequence, token, head, column));
}

float DecodeCase::key(int64_t sequence, int64_t token, int64_t kv_head, int64_t column) const {
  if (is_quantised(spec_.format())) {
    std::vector<double> values(static_cast<size_t>(spec_.d_qk));
    load_record(spec_.format(), record_place(sequence, token, kv_head),
                static_cast<double>(spec_.kv_scale), values.data());
    return static_cast<float>(values[static_cast<size_t>(column)]);
  }
  return load_element(pool_->data, spec_.kv_dtype, key_index(sequence, token, kv_head, column));
}

void DecodeCase::set_block_table(int64_t sequence, int64_t page, int32_t id) {
  block_table_[table_index(sequence, page)] = id;
}

void DecodeCase::set_length(int64_t sequence, int32_t length) {
  seq_lens_[static_cast<size_t>(sequence * (1 + spec_.gaps.lengths))] = length;
}

seesaw_dense_decode_problem DecodeCase::problem() const {
  return {.q_dtype = spec_.q_dtype,
          .kv_format = spec_.format(),
          .batch = std::max<int64_t>(std::max(spec_.planned_batch, spec_.batch()), 1),
          .s_q = spec_.s_q,
          .h_q = spec_.h_q,
          .h_kv = spec_.h_kv,
          .d_qk = spec_.d_qk,
          .d_v = spec_.d_v,
          .page_size = spec_.page_size,
          .max_pages_per_sequence = max_pages_,
          .kv_page_stride = page_stride_,
          .kv_token_stride = token_stride_,
          .causal = spec_.causal,
          .lse_base = spec_.lse_base,
          .empty_lse = spec_.empty_lse,
          .ragged = spec_.ragged() ? 1 : 0,
          .window = spec_.window,
          .tree_mask = spec_.tree ? 1 : 0,
          .sinks = spec_.sinks.empty() ? 0 : 1,
          .max_logits = spec_.max_logits ? 1 : 0,
          .soft_cap = spec_.soft_cap > 0 ? 1 : 0};
}

seesaw_options DecodeCase::options(const char* kernel, int32_t threads) const {
  return {.num_threads = threads,
          .batch_invariant = spec_.batch_invariant ? 1 : 0,
          .kernel = *kernel == '\0' ? nullptr : kernel};
}

seesaw_dense_decode_args DecodeCase::inputs() const {
  const int64_t b = spec_.batch();
  seesaw_dense_decode_args tensors{};
  tensors.q = rows_tensor(query_.data(), spec_.d_qk, spec_.gaps.q);
  const bool quantised = is_quantised(spec_.format());
  tensors.kv_cache = make_tensor(
      pool_->data, quantised ? SEESAW_UINT8 : spec_.kv_dtype,
      {num_pages_, spec_.page_size, spec_.h_kv, token_columns(spec_.format(), spec_.d_qk)});
  if (spec_.format() == SEESAW_FORMAT_FP8_576) {
    tensors.kv_scale = make_tensor(&spec_.kv_scale, SEESAW_FLOAT32, {1});
  }
  tensors.kv_cache.stride[0] = page_stride_;
  tensors.kv_cache.stride[1] = token_stride_;
  tensors.block_table = make_tensor(block_table_.data(), SEESAW_INT32, {b, max_pages_});
  tensors.block_table.stride[0] = max_pages_ + spec_.gaps.table;
  tensors.seq_lens = make_tensor(seq_lens_.data(), SEESAW_INT32, {b});
  tensors.seq_lens.stride[0] = 1 + spec_.gaps.lengths;
  tensors.scale = spec_.scale;
  tensors.soft_cap = spec_.soft_cap;
  if (spec_.tree) {
    tensors.tree_mask =
        spec_.ragged()
            ? make_tensor(tree_.data(), SEESAW_UINT8, {spec_.total_queries(), tree_bytes_})
            : make_tensor(tree_.data(), SEESAW_UINT8, {b, spec_.s_q, tree_bytes_});
  }
  if (!spec_.sinks.empty()) {
    tensors.sinks = make_tensor(spec_.sinks.data(), SEESAW_FLOAT32, {spec_.h_q});
  }
  if (spec_.ragged()) {
    tensors.cu_seqlens_q = make_tensor(cu_seqlens_q_.data(), SEESAW_INT32, {b + 1});
  }
  return tensors;
}

// q or out, with a gap after each head.
seesaw_tensor DecodeCase::rows_tensor(const void* data, int64_t columns, int64_t gap) const {
  const int64_t head = columns + gap;
  seesaw_tensor tensor =
      spec_.ragged()
          ? make_tensor(data, spec_.q_dtype, {spec_.total_queries(), spec_.h_q, columns})
          : make_tensor(data, spec_.q_dtype, {spec_.batch(), spec_.s_q, spec_.h_q, columns});
  const int64_t strides[] = {spec_.s_q * spec_.h_q * head, spec_.h_q * head, head};
  std::copy_n(strides + (spec_.ragged() ? 1 : 0), tensor.rank - 1, tensor.stride);
  return tensor;
}

seesaw_tensor DecodeCase::out_tensor(void* data) const {
  return rows_tensor(data, spec_.d_v, spec_.gaps.out);
}

seesaw_tensor DecodeCase::lse_tensor(void* data) const {
  const int64_t tokens = spec_.ragged() ? spec_.total_queries() : spec_.s_q;
  const int64_t row = (spec_.gaps.tokens_first ? spec_.h_q : tokens) + spec_.gaps.lse;
  const int64_t of_head = spec_.gaps.tokens_first ? 1 : row;
  const int64_t of_token = spec_.gaps.tokens_first ? row : 1;
  if (spec_.ragged()) {
    seesaw_tensor tensor = make_tensor(data, SEESAW_FLOAT32, {spec_.h_q, tokens});
    tensor.stride[0] = of_head;
    tensor.stride[1] = of_token;
    return tensor;
  }
  seesaw_tensor tensor = make_tensor(data, SEESAW_FLOAT32, {spec_.batch(), spec_.h_q, tokens});
  tensor.stride[0] = spec_.gaps.tokens_first ? tokens * row : spec_.h_q * row;
  tensor.stride[1] = of_head;
  tensor.stride[2] = of_token;
  return tensor;
}

size_t DecodeCase::out_bytes() const {
  const int64_t rows = spec_.total_queries() * spec_.h_q;
  return static_cast<size_t>(rows * (spec_.d_v + spec_.gaps.out)) * size_of(spec_.q_dtype);
}

size_t DecodeCase::lse_bytes() const {
  const int64_t tokens = spec_.ragged() ? spec_.total_queries() : spec_.batch() * spec_.s_q;
  const int64_t rows = spec_.gaps.tokens_first ? tokens
                       : spec_.ragged()        ? spec_.h_q
                                               : spec_.batch() * spec_.h_q;
  const int64_t columns = spec_.gaps.tokens_first ? spec_.h_q : spec_.ragged() ? tokens : spec_.s_q;
  return static_cast<size_t>(rows * (columns + spec_.gaps.lse)) * sizeof(float);
}

}  // namespace seesaw::lab
