#include "compare/weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compare/values.hpp"
#include "error.hpp"
#include "io/safetensors.hpp"
#include "machine.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kHelp = "See docs/compare.md for the names and shapes.";

Matrix random_matrix(size_t rows, size_t columns, double sigma, uint64_t seed) {
  return {rows, columns, widened(normal_array(rows * columns, sigma, SEESAW_FLOAT32, seed))};
}

// A product of two random matrices with the spectrum between them.
Matrix with_spectrum(size_t rows, size_t columns, double decay, uint64_t seed) {
  const size_t rank = std::min(rows, columns);
  const Matrix left = random_matrix(rows, rank, 1, seed);
  Matrix right = random_matrix(rank, columns, 1, seed + 1);
  for (size_t i = 0; i < rank; ++i) {
    const double s = std::pow(static_cast<double>(i + 1), -decay);
    std::for_each_n(right.values.begin() + static_cast<std::ptrdiff_t>(i * columns), columns,
                    [s](double& value) { value *= s; });
  }
  Matrix product = multiply(left, right);
  double squares = 0;
  for (const double value : product.values) {
    squares += value * value;
  }
  const double scale = std::sqrt(static_cast<double>(rows) / squares);
  for (double& value : product.values) {
    value *= scale;
  }
  return product;
}

seesaw_dtype float_dtype(const TensorEntry& entry, const std::string& where) {
  for (const seesaw_dtype dtype : {SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16}) {
    if (file_dtype(dtype) == entry.dtype) {
      return dtype;
    }
  }
  throw bad_input({where, std::string("dtype ") + name_of(entry.dtype), "allowed: F32, BF16, F16",
                   "Convert the tensor."});
}

Matrix read_matrix(const SafetensorsFile& file, const std::string& name) {
  const TensorEntry* entry = file.header().find(name);
  const std::string where = file.path() + ": " + printable(name);
  if (entry == nullptr) {
    throw bad_input({where, "missing",
                     "needed: q_proj, k_proj, v_proj and out_proj or o_proj, "
                     "each NAME.weight after --weights-prefix",
                     kHelp});
  }
  if (entry->shape.size() != 2) {
    throw bad_input({where, fmt::format("rank {}", entry->shape.size()),
                     "allowed: a matrix [outputs, inputs]", kHelp});
  }
  if (entry->shape[0] < 1 || entry->shape[1] < 1) {
    throw bad_input({where, fmt::format("empty [{}, {}]", entry->shape[0], entry->shape[1]),
                     "allowed: a matrix [outputs, inputs] of at least one element", kHelp});
  }
  HostArray array;
  array.dtype = float_dtype(*entry, where);
  array.count = static_cast<size_t>(entry->shape[0]) * static_cast<size_t>(entry->shape[1]);
  array.bytes.assign(file.tensor_bytes() + entry->begin, file.tensor_bytes() + entry->end);
  Matrix matrix = {static_cast<size_t>(entry->shape[0]), static_cast<size_t>(entry->shape[1]),
                   widened(array)};
  // A decomposition would spread one such element over everything.
  const auto bad = std::find_if(matrix.values.begin(), matrix.values.end(),
                                [](double value) { return !std::isfinite(value); });
  if (bad != matrix.values.end()) {
    const auto i = static_cast<size_t>(bad - matrix.values.begin());
    throw bad_input(
        {where, fmt::format("element [{}, {}] is {}", i / matrix.columns, i % matrix.columns, *bad),
         "allowed: finite numbers", "Mend the file."});
  }
  return matrix;
}

// Rows of `groups` heads, each repeated until there are `heads`.
Matrix repeat_heads(const Matrix& grouped, size_t dim, size_t heads) {
  const size_t groups = grouped.rows / dim;
  Matrix all(heads * dim, grouped.columns);
  for (size_t h = 0; h < heads; ++h) {
    const size_t from = h / (heads / groups) * dim * grouped.columns;
    std::copy_n(grouped.values.begin() + static_cast<std::ptrdiff_t>(from), dim * grouped.columns,
                all.values.begin() + static_cast<std::ptrdiff_t>(h * dim * grouped.columns));
  }
  return all;
}

void check_shapes(const HeadWeights& w, const std::string& path) {
  const auto heads = static_cast<size_t>(w.heads);
  const auto dim = static_cast<size_t>(w.head_dim);
  const auto grouped = [&](const Matrix& m) {
    return m.columns == w.q.columns && m.rows > 0 && m.rows % dim == 0 &&
           heads % (m.rows / dim) == 0;
  };
  if (!grouped(w.k) || !grouped(w.v) || w.out.rows != w.q.columns || w.out.columns != w.q.rows) {
    throw bad_input(
        {path,
         fmt::format("k_proj [{}, {}], v_proj [{}, {}], out_proj [{}, {}]", w.k.rows, w.k.columns,
                     w.v.rows, w.v.columns, w.out.rows, w.out.columns),
         fmt::format("needed beside q_proj [{}, {}] of {} heads: k_proj and v_proj [heads' divisor "
                     "* {}, {}], out_proj [{}, {}]",
                     w.q.rows, w.q.columns, heads, dim, w.q.columns, w.q.columns, w.q.rows),
         "Check --weights-prefix and --fit-heads."});
  }
}

}  // namespace

HeadWeights synthetic_weights(const SyntheticSpectrum& spectrum) {
  HeadWeights w;
  w.heads = spectrum.heads;
  w.head_dim = spectrum.head_dim;
  w.d_model = spectrum.heads * spectrum.head_dim;
  const auto width = static_cast<size_t>(w.d_model);
  Matrix* const all[] = {&w.q, &w.k, &w.v, &w.out};
  uint64_t stream = spectrum.seed * 16;
  for (Matrix* m : all) {
    *m = with_spectrum(width, width, spectrum.decay, stream);
    stream += 2;
  }
  w.source = fmt::format("synthetic: singular values near (1 + i)^-{:g}, rows of length about 1",
                         spectrum.decay);
  return w;
}

void require_fit_memory(int64_t rows, int64_t columns) {
  // The given layer twice, three decompositions with their scratch, and a fit: measured with
  // projections of [1024, 1024].
  constexpr double kMatrices = 24;
  const double needed = kMatrices * sizeof(double) * static_cast<double>(rows) *
                        static_cast<double>(std::max(rows, columns));
  const double usable = static_cast<double>(available_memory_bytes()) / 2;
  if (usable > 0 && needed > usable) {
    throw bad_input({"--fit-heads",
                     fmt::format("a fit of [{}, {}] projections needs about {}", rows, columns,
                                 bytes_text(needed)),
                     "allowed: half of the free memory, " + bytes_text(usable),
                     "Fit a smaller layer or leave the study out with --no-fit."});
  }
}

void require_fit_memory(const WeightFile& from) {
  const SafetensorsFile file(from.path);
  const TensorEntry* q = file.header().find(from.prefix + "q_proj.weight");
  if (q != nullptr && q->shape.size() == 2) {  // read_weights refuses every other
    require_fit_memory(q->shape[0], q->shape[1]);
  }
}

HeadWeights read_weights(const WeightFile& from) {
  const SafetensorsFile file(from.path);
  HeadWeights w;
  w.q = read_matrix(file, from.prefix + "q_proj.weight");
  w.k = read_matrix(file, from.prefix + "k_proj.weight");
  w.v = read_matrix(file, from.prefix + "v_proj.weight");
  const std::string out = from.prefix + "out_proj.weight";
  w.out =
      read_matrix(file, file.header().find(out) != nullptr ? out : from.prefix + "o_proj.weight");
  w.heads = from.heads;
  if (w.heads < 1 || w.q.rows % static_cast<size_t>(w.heads) != 0) {
    throw bad_input({"--fit-heads", std::to_string(w.heads),
                     fmt::format("allowed: divisors of q_proj's {} rows", w.q.rows),
                     "Give the model's number of query heads."});
  }
  w.head_dim = static_cast<int64_t>(w.q.rows) / w.heads;
  w.d_model = static_cast<int64_t>(w.q.columns);
  check_shapes(w, from.path);
  const auto dim = static_cast<size_t>(w.head_dim);
  const bool grouped = w.k.rows != w.q.rows || w.v.rows != w.q.rows;
  w.k = repeat_heads(w.k, dim, static_cast<size_t>(w.heads));
  w.v = repeat_heads(w.v, dim, static_cast<size_t>(w.heads));
  w.source = from.path + (grouped ? ", grouped keys and values repeated for every head" : "");
  for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj", "o_proj"}) {
    if (file.header().find(from.prefix + name + ".bias") != nullptr) {
      w.left_out += (w.left_out.empty() ? "" : ", ") + std::string(name) + ".bias";
    }
  }
  return w;
}

}  // namespace seesaw::tools
