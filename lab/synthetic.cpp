#include "lab/synthetic.hpp"

#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>

#include "lab/cache_records.hpp"
#include "lab/elements.hpp"
#include "seesaw/seesaw.hpp"

namespace seesaw::lab {
namespace {

template <typename Storage>
void fill_from(const std::vector<Storage>& table, Random random, void* values, size_t count) {
  auto* out = static_cast<Storage*>(values);
  for (size_t i = 0; i < count; i += 4) {
    uint64_t bits = random.bits();
    for (size_t k = i; k < std::min(i + 4, count); ++k, bits >>= 16) {
      out[k] = table[bits & 0xFFFF];
    }
  }
}

std::vector<uint16_t> rounded(const std::vector<float>& table, int32_t dtype) {
  std::vector<uint16_t> result(table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    store_element(result.data(), dtype, i, table[i]);
  }
  return result;
}

// The quantiles in a 16-bit type, made once for each.
const std::vector<uint16_t>& rounded_quantiles(Values values, int32_t dtype) {
  static std::mutex mutex;
  static std::map<std::pair<Values, int32_t>, std::vector<uint16_t>> tables;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<uint16_t>& table = tables[{values, dtype}];
  if (table.empty()) {
    table = rounded(quantiles(values), dtype);
  }
  return table;
}

void fill_drawn(Values drawn, int32_t dtype, Random random, void* values, size_t count) {
  if (dtype == SEESAW_FLOAT32) {
    fill_from(quantiles(drawn), random, values, count);
  } else {
    fill_from(rounded_quantiles(drawn, dtype), random, values, count);
  }
}

// Rows of `columns` elements, the first of them that of `token`: what an element's place makes of
// what was drawn.
template <typename Element>
void place_elements(void* rows, int32_t dtype, size_t count, int64_t columns, int64_t token,
                    Element element) {
  for (size_t i = 0; i < count; ++i) {
    const auto at = static_cast<int64_t>(i);
    store_element(rows, dtype, i,
                  element(load_element(rows, dtype, i), token + at / columns, at % columns));
  }
}

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

}  // namespace

SyntheticCase::SyntheticCase(const seesaw_dense_decode_problem& shape,
                             std::vector<int32_t> seq_lens, const SyntheticRules& rules)
    : problem_(shape), rules_(rules), seq_lens_(std::move(seq_lens)) {
  problem_.batch = static_cast<int64_t>(seq_lens_.size());
  problem_.ragged = rules_.query_lens.empty() ? 0 : 1;
  if (problem_.ragged != 0) {
    cu_seqlens_q_ = {0};
    for (const int32_t tokens : rules_.query_lens) {
      cu_seqlens_q_.push_back(cu_seqlens_q_.back() + tokens);
      problem_.s_q = std::max<int64_t>(problem_.s_q, tokens);
    }
  }
  problem_.max_pages_per_sequence =
      std::max(rules.columns, columns_of(seq_lens_, problem_.page_size));
  pages_ = place_pages(seq_lens_, problem_.page_size, problem_.max_pages_per_sequence,
                       rules.spare_pages, stream(rules.seed, Stream::kPages, 0));
}

int64_t SyntheticCase::total_tokens() const {
  return std::accumulate(seq_lens_.begin(), seq_lens_.end(), int64_t{0});
}

int64_t SyntheticCase::total_queries() const {
  return cu_seqlens_q_.empty() ? problem_.batch * problem_.s_q : cu_seqlens_q_.back();
}

size_t SyntheticCase::q_bytes() const {
  const seesaw_dense_decode_problem& p = problem_;
  return to_size(total_queries() * p.h_q * p.d_qk) * size_of(p.q_dtype);
}

size_t SyntheticCase::q_bytes_of_sequence(int64_t sequence) const {
  const seesaw_dense_decode_problem& p = problem_;
  const int64_t tokens = rules_.query_lens.empty() ? p.s_q : rules_.query_lens[to_size(sequence)];
  return to_size(tokens * p.h_q * p.d_qk) * size_of(p.q_dtype);
}

size_t SyntheticCase::page_bytes() const {
  const seesaw_dense_decode_problem& p = problem_;
  const int64_t token = p.h_kv * token_bytes(p.kv_format, p.d_qk);
  return to_size(
      is_quantised(p.kv_format)
          ? std::max(p.page_size * token, page_span(p.kv_format, p.page_size, p.h_kv, token))
          : p.page_size * token);
}

void SyntheticCase::fill_q_of_sequence(int64_t sequence, void* values) const {
  const seesaw_dense_decode_problem& p = problem_;
  const size_t count = q_bytes_of_sequence(sequence) / size_of(p.q_dtype);
  fill_drawn(rules_.values, p.q_dtype, stream(rules_.seed, Stream::kQuery, to_size(sequence)),
             values, count);
  if (rules_.values == Values::kCancel) {
    place_elements(values, p.q_dtype, count, p.d_qk, 0,
                   [&](float drawn, int64_t /*row*/, int64_t column) {
                     return query_element(rules_.values, drawn, {0, column, p.d_v});
                   });
  }
}

void SyntheticCase::fill_page(int64_t page, void* values) const {
  const seesaw_dense_decode_problem& p = problem_;
  const PageOwner owner = pages_.owners[to_size(page)];
  const int64_t first_token = owner.index * p.page_size;
  const int64_t live_tokens =
      owner.sequence < 0 ? 0
                         : std::min(p.page_size, seq_lens_[to_size(owner.sequence)] - first_token);
  const size_t live = to_size(live_tokens * p.h_kv * p.d_qk);
  if (is_quantised(p.kv_format)) {
    std::vector<float> drawn(live);
    fill_values(page, first_token, SEESAW_FLOAT32, drawn.data(), live);
    std::memset(values, kPoison, page_bytes());
    fill_records(drawn, values);
    return;
  }
  const size_t live_bytes = live * size_of(p.kv_format);
  fill_values(page, first_token, p.kv_format, values, live);
  std::memset(static_cast<std::byte*>(values) + live_bytes, kPoison, page_bytes() - live_bytes);
}

// The first `count` elements of a page, as elements of `dtype`.
void SyntheticCase::fill_values(int64_t page, int64_t first_token, int32_t dtype, void* values,
                                size_t count) const {
  const seesaw_dense_decode_problem& p = problem_;
  fill_drawn(rules_.values, dtype, stream(rules_.seed, Stream::kCache, to_size(page)), values,
             count);
  if (rules_.values == Values::kCancel) {
    place_elements(values, dtype, count, p.h_kv * p.d_qk, first_token,
                   [&](float drawn, int64_t token, int64_t column) {
                     return key_element(rules_.values, drawn, {token, column % p.d_qk, p.d_v});
                   });
  }
}

// The page's tokens [token][h_kv][d_qk] as records, their scales as the format's publisher does.
void SyntheticCase::fill_records(const std::vector<float>& tokens, void* page) const {
  const seesaw_dense_decode_problem& p = problem_;
  const int64_t bytes = token_bytes(p.kv_format, p.d_qk);
  for (int64_t row = 0; row * p.d_qk < static_cast<int64_t>(tokens.size()); ++row) {
    store_record(p.kv_format, tokens.data() + row * p.d_qk, usual_scale_rule(p.kv_format), 1.0F,
                 {static_cast<std::byte*>(page) + row % p.h_kv * bytes, p.page_size, p.h_kv * bytes,
                  row / p.h_kv});
  }
}

void SyntheticCase::fill_q(void* values) const {
  auto* at = static_cast<std::byte*>(values);
  for (int64_t i = 0; i < problem_.batch; ++i) {
    fill_q_of_sequence(i, at);
    at += q_bytes_of_sequence(i);
  }
}

void SyntheticCase::fill_cache(void* values) const {
  for (int64_t page = 0; page < num_pages(); ++page) {
    fill_page(page, static_cast<std::byte*>(values) + to_size(page) * page_bytes());
  }
}

seesaw_dense_decode_args SyntheticCase::inputs(const void* q, const void* cache) const {
  const seesaw_dense_decode_problem& p = problem_;
  seesaw_dense_decode_args args;
  const auto q_dtype = static_cast<seesaw_dtype>(p.q_dtype);
  args.q = p.ragged != 0 ? make_tensor(q, q_dtype, {total_queries(), p.h_q, p.d_qk})
                         : make_tensor(q, q_dtype, {p.batch, p.s_q, p.h_q, p.d_qk});
  if (p.ragged != 0) {
    args.cu_seqlens_q = make_tensor(cu_seqlens_q_.data(), SEESAW_INT32, {p.batch + 1});
  }
  const bool quantised = is_quantised(p.kv_format);
  args.kv_cache =
      make_tensor(cache, quantised ? SEESAW_UINT8 : static_cast<seesaw_dtype>(p.kv_format),
                  {num_pages(), p.page_size, p.h_kv, token_columns(p.kv_format, p.d_qk)});
  if (quantised) {
    args.kv_cache.stride[0] = static_cast<int64_t>(page_bytes());
  }
  args.block_table =
      make_tensor(block_table().data(), SEESAW_INT32, {p.batch, p.max_pages_per_sequence});
  args.seq_lens = make_tensor(seq_lens_.data(), SEESAW_INT32, {p.batch});
  args.scale = default_scale(p.d_qk);
  return args;
}

float default_scale(int64_t d_qk) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(d_qk)));
}

}  // namespace seesaw::lab
