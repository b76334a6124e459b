#include "synthetic.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "error.hpp"
#include "numbers.hpp"
#include "random.hpp"

namespace seesaw::tools {
namespace {

// Streams of one seed must not meet: each purpose has a tag, mixed in before the item's number.
enum class Stream : uint64_t { kLengths = 1, kPages, kQuery, kCache };

Random stream(uint64_t seed, Stream purpose, uint64_t item) {
  Random mixer(seed * 8 + static_cast<uint64_t>(purpose));
  return Random(mixer.bits() ^ (item * 0xD1342543DE82EF95u));
}

constexpr size_t kQuantiles = 65536;

// The (i + 1/2) / 65536 quantiles of the normal distribution, / 10, clamped to +-1: one table
// look-up a value. Newton's method from the neighbouring quantile.
std::vector<float> normal_quantiles() {
  std::vector<float> table(kQuantiles);
  double x = 0;
  for (size_t i = kQuantiles / 2; i < kQuantiles; ++i) {
    const double p = (static_cast<double>(i) + 0.5) / kQuantiles;
    for (int step = 0; step < 6; ++step) {
      const double above = 0.5 * std::erfc(x / std::sqrt(2.0));
      const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
      x += (above - (1 - p)) / density;
    }
    table[i] = static_cast<float>(std::clamp(x / 10, -1.0, 1.0));
    table[kQuantiles - 1 - i] = -table[i];
  }
  return table;
}

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

std::vector<uint16_t> rounded(const std::vector<float>& table, uint16_t (*round)(float)) {
  std::vector<uint16_t> result(table.size());
  std::transform(table.begin(), table.end(), result.begin(), round);
  return result;
}

void fill_normal(seesaw_dtype dtype, Random random, void* values, size_t count) {
  static const std::vector<float> float32 = normal_quantiles();
  static const std::vector<uint16_t> bfloat16 = rounded(float32, float_to_bfloat16);
  static const std::vector<uint16_t> float16 = rounded(float32, float_to_float16);
  if (dtype == SEESAW_FLOAT32) {
    fill_from(float32, random, values, count);
  } else {
    fill_from(dtype == SEESAW_BFLOAT16 ? bfloat16 : float16, random, values, count);
  }
}

// All bits set is a NaN in every floating format.
void fill_nan(void* values, size_t size_bytes) { std::memset(values, 0xFF, size_bytes); }

size_t to_size(int64_t value) { return static_cast<size_t>(value); }

int64_t pages_of(int32_t length, int64_t page_size) {
  return length > 0 ? (length + page_size - 1) / page_size : 0;
}

// Columns of the block table: at least one, as a tensor needs.
int64_t max_pages(const std::vector<int32_t>& seq_lens, int64_t page_size) {
  int64_t most = 1;
  for (const int32_t length : seq_lens) {
    most = std::max(most, pages_of(length, page_size));
  }
  return most;
}

}  // namespace

std::vector<int32_t> make_lengths(const LengthRule& rule, int64_t batch, uint64_t seed) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (rule.min < 0 || rule.min > rule.max || rule.max > kMost) {
    throw bad_input(
        {"lengths", "[" + std::to_string(rule.min) + ", " + std::to_string(rule.max) + "]",
         "allowed: 0 <= shortest <= longest < 2^31", "Set --len, or --len-min and --len-max."});
  }
  if (batch < 1 || batch > kMost) {
    throw bad_input(
        {"batch", std::to_string(batch) + " sequences", "allowed: 1 to 2^31 - 1", "Set --batch."});
  }
  Random random = stream(seed, Stream::kLengths, 0);
  std::vector<int32_t> lengths(to_size(batch));
  for (int32_t& length : lengths) {
    length = static_cast<int32_t>(random.between(rule.min, rule.max));
  }
  return lengths;
}

SyntheticCase::SyntheticCase(const SyntheticShape& shape, std::vector<int32_t> seq_lens)
    : shape_(shape),
      seq_lens_(std::move(seq_lens)),
      max_pages_(max_pages(seq_lens_, shape.page_size)) {
  int64_t used = 0;
  for (const int32_t length : seq_lens_) {
    used += pages_of(length, shape.page_size);
  }
  // At least one page: a tensor needs one, even if every sequence is empty.
  const int64_t pages = std::max<int64_t>(1, used + shape.spare_pages);
  if (shape.spare_pages < 0 || pages > std::numeric_limits<int32_t>::max()) {
    throw bad_input({"pages", std::to_string(pages) + " pages", "allowed: 1 to 2^31 - 1",
                     "Choose larger pages or shorter sequences."});
  }
  owners_.resize(to_size(pages));
  std::vector<int32_t> order(owners_.size());
  std::iota(order.begin(), order.end(), 0);
  Random random = stream(shape.seed, Stream::kPages, 0);
  for (size_t i = order.size() - 1; i > 0; --i) {
    std::swap(order[i], order[to_size(random.between(0, static_cast<int64_t>(i)))]);
  }
  block_table_.assign(seq_lens_.size() * to_size(max_pages_), -1);  // -1: must not be looked at
  size_t next = 0;
  for (size_t i = 0; i < seq_lens_.size(); ++i) {
    for (int64_t k = 0; k < pages_of(seq_lens_[i], shape.page_size); ++k) {
      const int32_t page = order[next++];
      block_table_[i * to_size(max_pages_) + to_size(k)] = page;
      owners_[to_size(page)] = {static_cast<int32_t>(i), static_cast<int32_t>(k)};
    }
  }
}

int64_t SyntheticCase::total_tokens() const {
  return std::accumulate(seq_lens_.begin(), seq_lens_.end(), int64_t{0});
}

size_t SyntheticCase::q_bytes() const {
  return seq_lens_.size() * to_size(shape_.s_q * shape_.h_q * shape_.d_qk) *
         size_of(shape_.q_dtype);
}

size_t SyntheticCase::page_bytes() const {
  return to_size(shape_.page_size * shape_.h_kv * shape_.d_qk) * size_of(shape_.kv_dtype);
}

void SyntheticCase::fill_q_of_sequence(int64_t sequence, void* values) const {
  fill_normal(shape_.q_dtype, stream(shape_.seed, Stream::kQuery, to_size(sequence)), values,
              to_size(shape_.s_q * shape_.h_q * shape_.d_qk));
}

void SyntheticCase::fill_page(int64_t page, void* values) const {
  const Owner owner = owners_[to_size(page)];
  const int64_t token_elements = shape_.h_kv * shape_.d_qk;
  int64_t live_tokens = 0;
  if (owner.sequence >= 0) {
    live_tokens = std::min(
        shape_.page_size, seq_lens_[to_size(owner.sequence)] - owner.page_index * shape_.page_size);
  }
  const size_t live_bytes = to_size(live_tokens * token_elements) * size_of(shape_.kv_dtype);
  fill_normal(shape_.kv_dtype, stream(shape_.seed, Stream::kCache, to_size(page)), values,
              to_size(live_tokens * token_elements));
  fill_nan(static_cast<std::byte*>(values) + live_bytes, page_bytes() - live_bytes);
}

void SyntheticCase::fill_q(void* values) const {
  const size_t stride = q_bytes() / seq_lens_.size();
  for (int64_t i = 0; i < batch(); ++i) {
    fill_q_of_sequence(i, static_cast<std::byte*>(values) + to_size(i) * stride);
  }
}

void SyntheticCase::fill_cache(void* values) const {
  for (int64_t page = 0; page < num_pages(); ++page) {
    fill_page(page, static_cast<std::byte*>(values) + to_size(page) * page_bytes());
  }
}

DenseDecodeDescriptor describe_problem(const SyntheticShape& shape,
                                       const std::vector<int32_t>& seq_lens) {
  DenseDecodeDescriptor descriptor;
  descriptor.batch = static_cast<int64_t>(seq_lens.size());
  descriptor.s_q = shape.s_q;
  descriptor.h_q = shape.h_q;
  descriptor.h_kv = shape.h_kv;
  descriptor.d_qk = shape.d_qk;
  descriptor.d_v = shape.d_v;
  descriptor.page_size = shape.page_size;
  descriptor.max_pages_per_sequence = max_pages(seq_lens, shape.page_size);
  descriptor.q_dtype = shape.q_dtype;
  descriptor.kv_dtype = shape.kv_dtype;
  return descriptor;
}

}  // namespace seesaw::tools
