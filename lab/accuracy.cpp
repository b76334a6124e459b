#include "lab/accuracy.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "base/float16.hpp"
#include "lab/accuracy_math.hpp"
#include "lab/cache_records.hpp"
#include "lab/elements.hpp"
#include "lab/sparse_inputs.hpp"

namespace seesaw::lab {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kRowsAtOnce = 16;  // of one KV head: they share the widened keys

// A weight that is this much below the row's largest (natural logarithm) is nothing in a float.
constexpr double kNegligible = 104;

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

// Elements [0, count) of a row as double.
void widen(const void* row, int32_t dtype, int64_t count, double* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<double>(load_element(row, dtype, to_size(i)));
  }
}

const void* address(const seesaw_tensor& tensor, int64_t element) {
  return static_cast<const std::byte*>(tensor.data) +
         element * static_cast<int64_t>(size_of(tensor.dtype));
}

int32_t int_at(const seesaw_tensor& tensor, int64_t element) {
  return *static_cast<const int32_t*>(address(tensor, element));
}

// Sums of products and of their magnitudes.
struct Product {
  double sum;
  double magnitude;
  double slack;  // what `sum` may be off by as the key's numbers are rounded
};

// A cached token as the definition has it, and how far each number may be from what is multiplied.
struct Key {
  std::vector<double> values;
  std::vector<double> errors;  // of a cache of another type than the query's; else empty
};

// Whether a dtype has the number.
bool is_representable(double value, int32_t dtype) {
  const auto narrow = static_cast<float>(value);
  const float kept = dtype == SEESAW_BFLOAT16  ? to_float(from_float<BFloat16>(narrow))
                     : dtype == SEESAW_FLOAT16 ? to_float(from_float<Float16>(narrow))
                                               : narrow;
  return static_cast<double>(kept) == value || std::isnan(value);
}

// Eight sums side by side can be vectorised; their order does not matter here.
Product product_of(const double* x, const double* y, int64_t count) {
  double sums[8] = {};
  double magnitudes[8] = {};
  int64_t c = 0;
  for (; c + 8 <= count; c += 8) {
    for (int lane = 0; lane < 8; ++lane) {
      const double product = x[c + lane] * y[c + lane];
      sums[lane] += product;
      magnitudes[lane] += std::fabs(product);
    }
  }
  for (; c < count; ++c) {
    sums[0] += x[c] * y[c];
    magnitudes[0] += std::fabs(x[c] * y[c]);
  }
  Product total{};
  for (int lane = 0; lane < 8; ++lane) {
    total.sum += sums[lane];
    total.magnitude += magnitudes[lane];
  }
  return total;
}

// How far each number of a key of another type than the query's may be from what is multiplied.
void find_errors(int32_t q_dtype, const Rounding& rounding, Key* key) {
  key->errors.clear();
  for (const double value : key->values) {
    key->errors.push_back(element_error(value, is_representable(value, q_dtype), rounding));
  }
}

// What the bounds of a call follow from. A sequence's rows are (query token, head) pairs, each of
// which sees some of its keys.
struct Shape {
  int64_t sequences;
  int64_t s_q;
  int64_t h_q;
  int64_t h_kv;
  int64_t d_qk;
  int64_t d_v;
  int32_t q_dtype;
  int32_t lse_base;
  double scale;
  double soft_cap;  // 0: none
  Rounding rounding;

  int64_t group() const { return h_q / h_kv; }
};

// Dense decoding: keys through a block table.
class DenseSource {
 public:
  DenseSource(const seesaw_dense_decode_problem& problem, const seesaw_dense_decode_args& inputs)
      : problem_(problem), inputs_(inputs) {}

  Shape shape() const {
    return {inputs_.seq_lens.shape[0],
            problem_.s_q,
            problem_.h_q,
            problem_.h_kv,
            problem_.d_qk,
            problem_.d_v,
            problem_.q_dtype,
            problem_.lse_base,
            static_cast<double>(inputs_.scale),
            problem_.soft_cap != 0 ? static_cast<double>(inputs_.soft_cap) : 0.0,
            rounding_of(problem_.q_dtype, problem_.kv_format)};
  }
  int64_t rows() const { return all_tokens() * problem_.h_q; }
  int64_t query_tokens(int64_t sequence) const {
    return ragged() ? query_begin(sequence + 1) - query_begin(sequence) : problem_.s_q;
  }
  // Where out and lse have a row.
  int64_t row_index(int64_t sequence, int64_t token, int64_t head) const {
    const int64_t begin = ragged() ? query_begin(sequence) : sequence * problem_.s_q;
    return (begin + token) * problem_.h_q + head;
  }
  int64_t number_index(int64_t sequence, int64_t token, int64_t head) const {
    return ragged() ? head * all_tokens() + query_begin(sequence) + token
                    : (sequence * problem_.h_q + head) * problem_.s_q + token;
  }
  int64_t keys(int64_t sequence) const {
    return std::max(int_at(inputs_.seq_lens, sequence * inputs_.seq_lens.stride[0]), 0);
  }
  // The masks of the contract.
  bool sees(int64_t sequence, int64_t token, int64_t key) const {
    const int64_t first_query = keys(sequence) - query_tokens(sequence);
    const int64_t position = first_query + token;
    if (problem_.causal != 0 && key > position) return false;
    if (problem_.window != 0 && key < position + 1 - problem_.window) return false;
    const int64_t bit = key - first_query;
    if (problem_.tree_mask == 0 || inputs_.tree_mask.data == nullptr || bit < 0) return true;
    const seesaw_tensor& tree = inputs_.tree_mask;
    const int64_t row = ragged() ? (query_begin(sequence) + token) * tree.stride[0]
                                 : sequence * tree.stride[0] + token * tree.stride[1];
    return (static_cast<const uint8_t*>(tree.data)[row + bit / 8] >> (bit % 8) & 1) != 0;
  }
  const void* query(int64_t sequence, int64_t token, int64_t head) const {
    const seesaw_tensor& q = inputs_.q;
    return ragged() ? address(q, (query_begin(sequence) + token) * q.stride[0] + head * q.stride[1])
                    : address(q, sequence * q.stride[0] + token * q.stride[1] + head * q.stride[2]);
  }
  double sink(int64_t head) const {
    const seesaw_tensor& sinks = inputs_.sinks;
    return problem_.sinks == 0 || sinks.data == nullptr
               ? -kInfinity
               : static_cast<double>(static_cast<const float*>(sinks.data)[head * sinks.stride[0]]);
  }
  void read_key(int64_t sequence, int64_t kv_head, int64_t token, Key* key) const {
    const seesaw_tensor& table = inputs_.block_table;
    const seesaw_tensor& cache = inputs_.kv_cache;
    const int64_t page =
        int_at(table, sequence * table.stride[0] + token / problem_.page_size * table.stride[1]);
    const int64_t slot = token % problem_.page_size;
    const int64_t head = page * cache.stride[0] + kv_head * cache.stride[2];
    key->values.resize(to_size(problem_.d_qk));
    if (!is_quantised(problem_.kv_format)) {
      widen(address(cache, head + slot * cache.stride[1]), cache.dtype, problem_.d_qk,
            key->values.data());
      key->errors.clear();
      if (cache.dtype != problem_.q_dtype) {  // may be rounded to the query's
        find_errors(problem_.q_dtype, shape().rounding, key);
      }
      return;
    }
    const RecordPlace place{static_cast<std::byte*>(cache.data) + head, problem_.page_size,
                            cache.stride[1], slot};
    const auto* scale = static_cast<const float*>(inputs_.kv_scale.data);
    load_record(problem_.kv_format, place, scale == nullptr ? 1.0 : static_cast<double>(*scale),
                key->values.data());
    find_errors(problem_.q_dtype, rounding_of(problem_.q_dtype, problem_.kv_format), key);
  }

 private:
  bool ragged() const { return problem_.ragged != 0; }
  int64_t query_begin(int64_t sequence) const {
    const seesaw_tensor& begins = inputs_.cu_seqlens_q;
    return int_at(begins, sequence * begins.stride[0]);
  }
  int64_t all_tokens() const {
    return ragged() ? query_begin(inputs_.seq_lens.shape[0])
                    : inputs_.seq_lens.shape[0] * problem_.s_q;
  }

  const seesaw_dense_decode_problem& problem_;
  const seesaw_dense_decode_args& inputs_;
};

// Sparse decoding and prefill: a sequence is a query token, its keys the tokens of its lists.
class SparseSource {
 public:
  explicit SparseSource(const SparseInputs& inputs) : inputs_(inputs) {
    for (int64_t item = 0; item < inputs.batch * inputs.s_q; ++item) {
      std::vector<Place>& keys = keys_.emplace_back();
      for (const ListedCache& cache : inputs.caches) {
        for (int64_t e = 0; e < cache.list_length(item / inputs.s_q); ++e) {
          const int64_t slot = cache.slot(item / inputs.s_q, item % inputs.s_q, e);
          if (slot >= 0) {
            keys.push_back({&cache, slot});
          }
        }
      }
    }
  }

  Shape shape() const {
    Rounding rounding = rounding_of(inputs_.q_dtype, inputs_.caches[0].format);
    for (const ListedCache& cache : inputs_.caches) {  // weights of the coarser of two
      const Rounding other = rounding_of(inputs_.q_dtype, cache.format);
      rounding.weights = std::max(rounding.weights, other.weights);
      rounding.least_weight = std::max(rounding.least_weight, other.least_weight);
    }
    return {inputs_.batch * inputs_.s_q,
            1,
            inputs_.h_q,
            1,
            inputs_.d_qk,
            inputs_.d_v,
            inputs_.q_dtype,
            inputs_.lse_base,
            inputs_.scale,
            0.0,
            rounding};
  }
  int64_t rows() const { return inputs_.batch * inputs_.s_q * inputs_.h_q; }
  int64_t query_tokens(int64_t /*item*/) const { return 1; }
  int64_t row_index(int64_t item, int64_t /*token*/, int64_t head) const {
    return item * inputs_.h_q + head;
  }
  int64_t number_index(int64_t item, int64_t /*token*/, int64_t head) const {
    return (item / inputs_.s_q * inputs_.h_q + head) * inputs_.s_q + item % inputs_.s_q;
  }
  int64_t keys(int64_t item) const { return static_cast<int64_t>(keys_[to_size(item)].size()); }
  bool sees(int64_t /*item*/, int64_t /*token*/, int64_t /*key*/) const { return true; }
  double sink(int64_t head) const { return inputs_.sink(head); }
  const void* query(int64_t item, int64_t /*token*/, int64_t head) const {
    return inputs_.query(item / inputs_.s_q, item % inputs_.s_q, head);
  }
  void read_key(int64_t item, int64_t /*kv_head*/, int64_t token, Key* key) const {
    const Place& place = keys_[to_size(item)][to_size(token)];
    key->values.resize(to_size(inputs_.d_qk));
    place.cache->read(place.slot, key->values.data());
    key->errors.clear();
    // With caches of two types, elements of one may be rounded to the other's, or to the query's.
    if (place.cache->format != inputs_.q_dtype || inputs_.caches.size() > 1) {
      find_errors(inputs_.q_dtype, rounding_of(inputs_.q_dtype, place.cache->format), key);
    }
  }

 private:
  struct Place {
    const ListedCache* cache;
    int64_t slot;
  };
  const SparseInputs& inputs_;
  std::vector<std::vector<Place>> keys_;
};

struct Row {
  int64_t token;
  int64_t head;
};

// Rows of one KV head of one sequence.
struct Block {
  int64_t sequence;
  int64_t kv_head;
  int64_t row_begin;
  int64_t row_end;
};

template <typename Source>
class Accuracy {
 public:
  explicit Accuracy(const Source& source) : source_(source), shape_(source.shape()) {
    const size_t rows = to_size(source.rows());
    allowed_.out.assign(rows * to_size(shape_.d_v), 0.0);
    allowed_.out_relative.assign(rows, 0.0);
    allowed_.lse.assign(rows, 0.0);
    allowed_.max_logits.assign(rows, 0.0);
  }

  Allowed run() {
    std::vector<Block> blocks;
    for (int64_t i = 0; i < shape_.sequences * shape_.h_kv; ++i) {
      const int64_t rows = source_.query_tokens(i / shape_.h_kv) * shape_.group();
      for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
        blocks.push_back(
            {i / shape_.h_kv, i % shape_.h_kv, row, std::min(row + kRowsAtOnce, rows)});
      }
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < blocks.size(); ++i) {
      do_block(blocks[i]);
    }
    return std::move(allowed_);
  }

 private:
  Row row_of(const Block& block, int64_t row) const {
    const int64_t token = row / shape_.group();
    return {token, block.kv_head * shape_.group() + row % shape_.group()};
  }

  // A query's product with a key, times the scale.
  Product score_of(const double* query, const Key& key) const {
    Product product = product_of(query, key.values.data(), shape_.d_qk);
    for (size_t c = 0; c < key.errors.size(); ++c) {
      product.slack += std::fabs(query[c]) * key.errors[c];
    }
    product = {product.sum * shape_.scale, product.magnitude * std::fabs(shape_.scale),
               product.slack * std::fabs(shape_.scale)};
    if (shape_.soft_cap > 0) {  // no steeper than 1, and a few roundings of the cap itself
      product.sum = shape_.soft_cap * std::tanh(product.sum / shape_.soft_cap);
      product.slack += 8 * kFloatRoundoff * shape_.soft_cap;
    }
    return product;
  }

  void do_block(const Block& block) {
    const int64_t d_qk = shape_.d_qk;
    const int64_t keys = source_.keys(block.sequence);
    const int64_t count = block.row_end - block.row_begin;
    std::vector<double> queries(to_size(count * d_qk));
    Key key;
    std::vector<Product> scores(to_size(count * keys));
    for (int64_t r = 0; r < count; ++r) {
      const Row row = row_of(block, block.row_begin + r);
      widen(source_.query(block.sequence, row.token, row.head), shape_.q_dtype, d_qk,
            queries.data() + r * d_qk);
    }
    for (int64_t t = 0; t < keys; ++t) {
      source_.read_key(block.sequence, block.kv_head, t, &key);
      for (int64_t r = 0; r < count; ++r) {
        scores[to_size(r * keys + t)] = score_of(queries.data() + r * d_qk, key);
      }
    }
    std::vector<RowScores> rows;
    std::vector<RowErrors> errors;
    for (int64_t r = 0; r < count; ++r) {
      const Row row = row_of(block, block.row_begin + r);
      std::vector<Product> seen;
      for (int64_t t = 0; t < keys; ++t) {
        if (source_.sees(block.sequence, row.token, t)) {
          seen.push_back(scores[to_size(r * keys + t)]);
        }
      }
      rows.push_back(row_scores(seen));
      errors.push_back(row_errors(rows.back(), shape_.rounding));
    }
    for (int64_t t = 0; t < keys; ++t) {
      source_.read_key(block.sequence, block.kv_head, t, &key);
      for (int64_t r = 0; r < count; ++r) {
        const Row row = row_of(block, block.row_begin + r);
        if (rows[to_size(r)].weight_sum != 0 && source_.sees(block.sequence, row.token, t)) {
          const double score = scores[to_size(r * keys + t)].sum;
          const double weight = std::exp(score - rows[to_size(r)].greatest);
          add_value(weight, value_error(weight, errors[to_size(r)], shape_.rounding), key,
                    out_of(block, row));
        }
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      if (rows[to_size(r)].weight_sum != 0) {  // nothing attended: 0 and an infinity, exactly
        finish(block, row_of(block, block.row_begin + r), rows[to_size(r)], errors[to_size(r)]);
      }
    }
  }

  RowScores row_scores(std::span<const Product> scores) const {
    RowScores row{static_cast<double>(scores.size()), 0.0, -kInfinity, 0.0};
    for (const Product& score : scores) {
      row.greatest = std::max(row.greatest, score.sum);  // NaN shows in the sum of weights
    }
    for (const Product& score : scores) {
      const double error =
          score_error(static_cast<double>(shape_.d_qk), score.magnitude + score.slack) +
          score.slack;
      if (score.sum == -kInfinity) {
        continue;  // it weighs nothing, exactly
      }
      row.weight_sum += std::exp(score.sum - row.greatest);
      if (score.sum + error >= row.greatest - kNegligible) {
        row.error = std::max(row.error, error);
      }
    }
    return row;
  }

  int64_t index_of(const Block& block, const Row& row) const {
    return source_.row_index(block.sequence, row.token, row.head);
  }
  int64_t number_index_of(const Block& block, const Row& row) const {
    return source_.number_index(block.sequence, row.token, row.head);
  }
  double* out_of(const Block& block, const Row& row) {
    return allowed_.out.data() + index_of(block, row) * shape_.d_v;
  }

  void add_value(double weight, double error, const Key& key, double* out) const {
    const double* value = key.values.data();
    for (int64_t c = 0; c < shape_.d_v; ++c) {
      out[c] += error * std::fabs(value[c]);
    }
    if (!key.errors.empty()) {
      for (int64_t c = 0; c < shape_.d_v; ++c) {
        out[c] += (weight + error) * key.errors[to_size(c)];
      }
    }
  }

  void finish(const Block& block, const Row& row, const RowScores& scores,
              const RowErrors& errors) {
    double* out = out_of(block, row);
    const double largest = *std::max_element(out, out + shape_.d_v) * errors.out_factor;
    for (int64_t c = 0; c < shape_.d_v; ++c) {
      out[c] = out[c] * errors.out_factor + least_error(largest, shape_.rounding);
    }
    double& relative = allowed_.out_relative[to_size(index_of(block, row))];
    relative = errors.out_relative;
    if (const double sink = source_.sink(row.head); sink != -kInfinity) {
      add_sink(sink, scores, errors, out, &relative);
    }
    const size_t number = to_size(number_index_of(block, row));
    allowed_.lse[number] =
        shape_.lse_base == SEESAW_LSE_BASE2 ? errors.lse * std::numbers::log2e : errors.lse;
    // The maximum may have been kept in base 2, and is rounded once more.
    allowed_.max_logits[number] = scores.error + 4 * kFloatRoundoff * std::fabs(scores.greatest);
  }

  // A sink multiplies a row of out by f = 1 / (1 + exp(sink - lse)): a log-sum-exp that is off by d
  // changes f by (1 - f) d of itself, and f is a few roundings away from that.
  void add_sink(double sink, const RowScores& scores, const RowErrors& errors, double* out,
                double* relative) const {
    constexpr double kRoundings = 16;
    const double least = least_error(0, shape_.rounding);
    const double lse = scores.greatest + std::log(scores.weight_sum);
    const double kept = 1 / (1 + std::exp(sink - lse));
    const double error = (1 - kept) * errors.lse + kRoundings * kFloatRoundoff;
    for (int64_t c = 0; c < shape_.d_v; ++c) {
      out[c] = out[c] * kept * (1 + error) + least;  // the product is what is rounded to the output
    }
    *relative += error;
  }

  const Source& source_;
  const Shape shape_;
  Allowed allowed_;
};

}  // namespace

Allowed allowed_errors(const seesaw_dense_decode_problem& problem,
                       const seesaw_dense_decode_args& inputs) {
  return Accuracy(DenseSource(problem, inputs)).run();
}

Allowed allowed_errors(const SparseInputs& inputs) { return Accuracy(SparseSource(inputs)).run(); }

}  // namespace seesaw::lab
