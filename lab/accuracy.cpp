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
  std::vector<double> errors;  // of a quantised cache; else empty
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

// How far each number of a quantised cache's key may be from what is multiplied.
void find_errors(int32_t q_dtype, const Rounding& rounding, Key* key) {
  key->errors.clear();
  for (const double value : key->values) {
    key->errors.push_back(element_error(value, is_representable(value, q_dtype), rounding));
  }
}

// What the bounds of a call follow from. A sequence's rows are (query token, head) pairs; its keys
// are tokens of which a query token sees the first so many.
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
            rounding_of(problem_.q_dtype, problem_.kv_format)};
  }
  int64_t keys(int64_t sequence) const {
    return std::max(int_at(inputs_.seq_lens, sequence * inputs_.seq_lens.stride[0]), 0);
  }
  int64_t visible(int64_t sequence, int64_t token) const {
    const int64_t hidden = problem_.causal != 0 ? problem_.s_q - 1 - token : 0;
    return std::max<int64_t>(keys(sequence) - hidden, 0);
  }
  const void* query(int64_t sequence, int64_t token, int64_t head) const {
    const seesaw_tensor& q = inputs_.q;
    return address(q, sequence * q.stride[0] + token * q.stride[1] + head * q.stride[2]);
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
            rounding};
  }
  int64_t keys(int64_t item) const { return static_cast<int64_t>(keys_[to_size(item)].size()); }
  int64_t visible(int64_t item, int64_t /*token*/) const { return keys(item); }
  const void* query(int64_t item, int64_t /*token*/, int64_t head) const {
    return inputs_.query(item / inputs_.s_q, item % inputs_.s_q, head);
  }
  void read_key(int64_t item, int64_t /*kv_head*/, int64_t token, Key* key) const {
    const Place& place = keys_[to_size(item)][to_size(token)];
    key->values.resize(to_size(inputs_.d_qk));
    place.cache->read(place.slot, key->values.data());
    key->errors.clear();
    // With caches of two types, elements of one may be rounded to the other's, or to the query's.
    if (is_quantised(place.cache->format) || inputs_.caches.size() > 1) {
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

// A row's query, and how many keys it sees.
struct Row {
  int64_t token;
  int64_t head;
  int64_t keys;
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
    const size_t rows = to_size(shape_.sequences * shape_.s_q * shape_.h_q);
    allowed_.out.assign(rows * to_size(shape_.d_v), 0.0);
    allowed_.out_relative.assign(rows, 0.0);
    allowed_.lse.assign(rows, 0.0);
    allowed_.max_logits.assign(rows, 0.0);
  }

  Allowed run() {
    const int64_t rows = shape_.s_q * shape_.group();
    std::vector<Block> blocks;
    for (int64_t i = 0; i < shape_.sequences * shape_.h_kv; ++i) {
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
    return {token, block.kv_head * shape_.group() + row % shape_.group(),
            source_.visible(block.sequence, token)};
  }

  // A query's product with a key, times the scale.
  Product score_of(const double* query, const Key& key) const {
    Product product = product_of(query, key.values.data(), shape_.d_qk);
    for (size_t c = 0; c < key.errors.size(); ++c) {
      product.slack += std::fabs(query[c]) * key.errors[c];
    }
    return {product.sum * shape_.scale, product.magnitude * std::fabs(shape_.scale),
            product.slack * std::fabs(shape_.scale)};
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
      rows.push_back(row_scores({scores.data() + r * keys, to_size(row.keys)}));
      errors.push_back(row_errors(rows.back(), shape_.rounding));
    }
    for (int64_t t = 0; t < keys; ++t) {
      source_.read_key(block.sequence, block.kv_head, t, &key);
      for (int64_t r = 0; r < count; ++r) {
        const Row row = row_of(block, block.row_begin + r);
        if (t < row.keys && rows[to_size(r)].weight_sum != 0) {
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
    return (block.sequence * shape_.s_q + row.token) * shape_.h_q + row.head;
  }
  int64_t number_index_of(const Block& block, const Row& row) const {
    return (block.sequence * shape_.h_q + row.head) * shape_.s_q + row.token;
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
    allowed_.out_relative[to_size(index_of(block, row))] = errors.out_relative;
    const size_t number = to_size(number_index_of(block, row));
    allowed_.lse[number] =
        shape_.lse_base == SEESAW_LSE_BASE2 ? errors.lse * std::numbers::log2e : errors.lse;
    // The maximum may have been kept in base 2, and is rounded once more.
    allowed_.max_logits[number] = scores.error + 4 * kFloatRoundoff * std::fabs(scores.greatest);
  }

  const Source& source_;
  const Shape shape_;
  Allowed allowed_;
};

// Where [batch, h_q, s_q] has the number of a row of [batch, s_q, h_q].
size_t number_of(size_t row, const SparseInputs& inputs) {
  const auto index = static_cast<int64_t>(row);
  const int64_t item = index / inputs.h_q;
  return to_size((item / inputs.s_q * inputs.h_q + index % inputs.h_q) * inputs.s_q +
                 item % inputs.s_q);
}

// A sink multiplies a row of out by f = 1 / (1 + exp(sink - lse)): a log-sum-exp that is off by d
// changes f by (1 - f) d of itself, and f is a few roundings away from that. lse: [batch, h_q,
// s_q].
void add_sinks(const SparseInputs& inputs, const std::vector<double>& lse, Allowed* allowed) {
  if (inputs.sinks.data == nullptr) {
    return;
  }
  constexpr double kRoundings = 16;
  const Rounding rounding = rounding_of(inputs.q_dtype, inputs.q_dtype);
  const double least = least_error(0, rounding);
  const double natural = inputs.lse_base == SEESAW_LSE_BASE2 ? std::numbers::ln2 : 1.0;
  for (size_t row = 0; row < allowed->out_relative.size(); ++row) {
    const double sink = inputs.sink(static_cast<int64_t>(row) % inputs.h_q);
    const size_t number = number_of(row, inputs);
    const double kept = 1 / (1 + std::exp(sink - lse[number] * natural));
    const double error = (1 - kept) * allowed->lse[number] * natural + kRoundings * kFloatRoundoff;
    for (int64_t c = 0; c < inputs.d_v; ++c) {
      double& out = allowed->out[row * to_size(inputs.d_v) + to_size(c)];
      out = out * kept * (1 + error) + least;  // the product is what is rounded to the output
    }
    allowed->out_relative[row] += error;
  }
}

}  // namespace

Allowed allowed_errors(const seesaw_dense_decode_problem& problem,
                       const seesaw_dense_decode_args& inputs) {
  return Accuracy(DenseSource(problem, inputs)).run();
}

Allowed allowed_errors(const SparseInputs& inputs, const std::vector<double>& lse) {
  Allowed allowed = Accuracy(SparseSource(inputs)).run();
  const Allowed by_item = allowed;  // numbers as [batch * s_q, h_q]
  for (size_t row = 0; row < by_item.lse.size(); ++row) {
    allowed.lse[number_of(row, inputs)] = by_item.lse[row];
    allowed.max_logits[number_of(row, inputs)] = by_item.max_logits[row];
  }
  add_sinks(inputs, lse, &allowed);
  return allowed;
}

}  // namespace seesaw::lab
