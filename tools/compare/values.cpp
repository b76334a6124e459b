#include "compare/values.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lab/random.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr size_t kTable = size_t{1} << 12;
constexpr size_t kBlock = size_t{1} << 16;  // numbers of a random stream

// kTable quantiles of the normal distribution in `dtype`, by bisection: made once a call, so that a
// number costs a look-up however large the array is.
HostArray quantiles(double sigma, seesaw_dtype dtype) {
  std::vector<double> table(kTable);
  for (size_t i = 0; i < kTable; ++i) {
    const double p = (static_cast<double>(i) + 0.5) / static_cast<double>(kTable);
    double low = -4;
    double high = 4;
    for (int step = 0; step < 50; ++step) {
      const double middle = (low + high) / 2;
      (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
    }
    table[i] = sigma * low;
  }
  return rounded(table, dtype);
}

HostArray empty_array(size_t count, seesaw_dtype dtype) {
  return {dtype, count, std::vector<std::byte>(count * lab::size_of(dtype))};
}

}  // namespace

HostArray normal_array(size_t count, double sigma, seesaw_dtype dtype, uint64_t seed) {
  const HostArray table = quantiles(sigma, dtype);
  HostArray array = empty_array(count, dtype);
  const size_t width = lab::size_of(dtype);
  // Blocks have streams of their own, so that the numbers do not depend on the threads.
  const size_t blocks = (count + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static)
  for (size_t block = 0; block < blocks; ++block) {
    Random random(Random(seed ^ (block * 0xD1342543DE82EF95u)).bits());
    const size_t end = std::min(count, (block + 1) * kBlock);
    for (size_t i = block * kBlock; i < end;) {
      uint64_t bits = random.bits();
      for (int k = 0; k < 5 && i < end; ++k, ++i, bits >>= 12) {
        std::memcpy(&array.bytes[i * width], &table.bytes[(bits % kTable) * width], width);
      }
    }
  }
  return array;
}

HostArray constant_array(size_t count, double value, seesaw_dtype dtype) {
  return rounded(std::vector<double>(count, value), dtype);
}

HostArray rounded(const std::vector<double>& values, seesaw_dtype dtype) {
  HostArray array = empty_array(values.size(), dtype);
  for (size_t i = 0; i < values.size(); ++i) {
    store_element(array.bytes.data(), dtype, i, static_cast<float>(values[i]));
  }
  return array;
}

std::vector<double> widened(const HostArray& array) {
  std::vector<double> values(array.count);
  for (size_t i = 0; i < array.count; ++i) {
    values[i] = static_cast<double>(load_element(array.bytes.data(), array.dtype, i));
  }
  return values;
}

}  // namespace seesaw::tools
