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

class Accuracy {
 public:
  Accuracy(const seesaw_dense_decode_problem& problem, const seesaw_dense_decode_args& inputs)
      : problem_(problem),
        inputs_(inputs),
        rounding_(rounding_of(problem.q_dtype, problem.kv_format)),
        batch_(inputs.seq_lens.shape[0]) {
    const size_t rows = to_size(batch_ * problem.s_q * problem.h_q);
    allowed_.out.assign(rows * to_size(problem.d_v), 0.0);
    allowed_.out_relative.assign(rows, 0.0);
    allowed_.lse.assign(rows, 0.0);
  }

  Allowed run() {
    const int64_t rows = problem_.s_q * group();
    std::vector<Block> blocks;
    for (int64_t i = 0; i < batch_ * problem_.h_kv; ++i) {
      for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
        blocks.push_back(
            {i / problem_.h_kv, i % problem_.h_kv, row, std::min(row + kRowsAtOnce, rows)});
      }
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < blocks.size(); ++i) {
      do_block(blocks[i]);
    }
    return std::move(allowed_);
  }

 private:
  int64_t group() const { return problem_.h_q / problem_.h_kv; }

  int64_t length(int64_t sequence) const {
    return std::max(int_at(inputs_.seq_lens, sequence * inputs_.seq_lens.stride[0]), 0);
  }

  Row row_of(const Block& block, int64_t row) const {
    const int64_t token = row / group();
    const int64_t hidden = problem_.causal != 0 ? problem_.s_q - 1 - token : 0;
    return {token, block.kv_head * group() + row % group(),
            std::max<int64_t>(length(block.sequence) - hidden, 0)};
  }

  void read_key(const Block& block, int64_t token, Key* key) const {
    const seesaw_tensor& table = inputs_.block_table;
    const seesaw_tensor& cache = inputs_.kv_cache;
    const int64_t page = int_at(
        table, block.sequence * table.stride[0] + token / problem_.page_size * table.stride[1]);
    const int64_t slot = token % problem_.page_size;
    const int64_t head = page * cache.stride[0] + block.kv_head * cache.stride[2];
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
    key->errors.clear();
    for (const double value : key->values) {
      key->errors.push_back(
          element_error(value, is_representable(value, problem_.q_dtype), rounding_));
    }
  }

  // A query's product with a key, times the scale.
  Product score_of(const double* query, const Key& key) const {
    const double scale = static_cast<double>(inputs_.scale);
    Product product = product_of(query, key.values.data(), problem_.d_qk);
    for (size_t c = 0; c < key.errors.size(); ++c) {
      product.slack += std::fabs(query[c]) * key.errors[c];
    }
    return {product.sum * scale, product.magnitude * std::fabs(scale),
            product.slack * std::fabs(scale)};
  }

  void do_block(const Block& block) {
    const int64_t d_qk = problem_.d_qk;
    const int64_t keys = length(block.sequence);
    const int64_t count = block.row_end - block.row_begin;
    std::vector<double> queries(to_size(count * d_qk));
    Key key;
    std::vector<Product> scores(to_size(count * keys));
    for (int64_t r = 0; r < count; ++r) {
      const Row row = row_of(block, block.row_begin + r);
      const seesaw_tensor& q = inputs_.q;
      widen(address(
                q, block.sequence * q.stride[0] + row.token * q.stride[1] + row.head * q.stride[2]),
            q.dtype, d_qk, queries.data() + r * d_qk);
    }
    for (int64_t t = 0; t < keys; ++t) {
      read_key(block, t, &key);
      for (int64_t r = 0; r < count; ++r) {
        scores[to_size(r * keys + t)] = score_of(queries.data() + r * d_qk, key);
      }
    }
    std::vector<RowScores> rows;
    std::vector<RowErrors> errors;
    for (int64_t r = 0; r < count; ++r) {
      const Row row = row_of(block, block.row_begin + r);
      rows.push_back(row_scores({scores.data() + r * keys, to_size(row.keys)}));
      errors.push_back(row_errors(rows.back(), rounding_));
    }
    for (int64_t t = 0; t < keys; ++t) {
      read_key(block, t, &key);
      for (int64_t r = 0; r < count; ++r) {
        const Row row = row_of(block, block.row_begin + r);
        if (t < row.keys && rows[to_size(r)].weight_sum != 0) {
          const double score = scores[to_size(r * keys + t)].sum;
          const double weight = std::exp(score - rows[to_size(r)].greatest);
          add_value(weight, value_error(weight, errors[to_size(r)], rounding_), key,
                    out_of(block, row));
        }
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      if (rows[to_size(r)].weight_sum != 0) {  // nothing attended: 0 and an infinity, exactly
        finish(block, row_of(block, block.row_begin + r), errors[to_size(r)]);
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
          score_error(static_cast<double>(problem_.d_qk), score.magnitude + score.slack) +
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
    return (block.sequence * problem_.s_q + row.token) * problem_.h_q + row.head;
  }
  double* out_of(const Block& block, const Row& row) {
    return allowed_.out.data() + index_of(block, row) * problem_.d_v;
  }

  void add_value(double weight, double error, const Key& key, double* out) const {
    const double* value = key.values.data();
    for (int64_t c = 0; c < problem_.d_v; ++c) {
      out[c] += error * std::fabs(value[c]);
    }
    if (!key.errors.empty()) {
      for (int64_t c = 0; c < problem_.d_v; ++c) {
        out[c] += (weight + error) * key.errors[to_size(c)];
      }
    }
  }

  void finish(const Block& block, const Row& row, const RowErrors& errors) {
    double* out = out_of(block, row);
    const double largest = *std::max_element(out, out + problem_.d_v) * errors.out_factor;
    for (int64_t c = 0; c < problem_.d_v; ++c) {
      out[c] = out[c] * errors.out_factor + least_error(largest, rounding_);
    }
    allowed_.out_relative[to_size(index_of(block, row))] = errors.out_relative;
    allowed_.lse[to_size((block.sequence * problem_.h_q + row.head) * problem_.s_q + row.token)] =
        problem_.lse_base == SEESAW_LSE_BASE2 ? errors.lse * std::numbers::log2e : errors.lse;
  }

  const seesaw_dense_decode_problem& problem_;
  const seesaw_dense_decode_args& inputs_;
  const Rounding rounding_;
  const int64_t batch_;
  Allowed allowed_;
};

}  // namespace

Allowed allowed_errors(const seesaw_dense_decode_problem& problem,
                       const seesaw_dense_decode_args& inputs) {
  return Accuracy(problem, inputs).run();
}

}  // namespace seesaw::lab
