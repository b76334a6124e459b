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

Matrix random_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  const auto count = static_cast<size_t>(rows * columns);
  return matrix_of(widened(normal_array(count, 1, SEESAW_FLOAT32, seed)), columns);
}

// A product of two random matrices with the spectrum between them; rows of length about 1.
Matrix with_spectrum(int64_t size, double decay, uint64_t seed) {
  const Eigen::VectorXd spectrum =
      Eigen::VectorXd::LinSpaced(size, 1, static_cast<double>(size)).array().pow(-decay).matrix();
  Matrix product =
      random_matrix(size, size, seed) * spectrum.asDiagonal() * random_matrix(size, size, seed + 1);
  product *= std::sqrt(static_cast<double>(size)) / product.norm();
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
  const Values values = widened(array);
  // A decomposition would spread one such element over everything.
  const auto bad = std::find_if(values.begin(), values.end(),
                                [](double value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    const int64_t i = bad - values.begin();
    throw bad_input(
        {where,
         fmt::format("element [{}, {}] is {}", i / entry->shape[1], i % entry->shape[1], *bad),
         "allowed: finite numbers", "Mend the file."});
  }
  return matrix_of(values, entry->shape[1]);
}

// Rows of `groups` heads, each repeated until there are `heads`.
Matrix repeat_heads(const Matrix& grouped, int64_t dim, int64_t heads) {
  const int64_t groups = grouped.rows() / dim;
  Matrix all(heads * dim, grouped.cols());
  for (int64_t h = 0; h < heads; ++h) {
    all.middleRows(h * dim, dim) = grouped.middleRows(h / (heads / groups) * dim, dim);
  }
  return all;
}

void check_shapes(const HeadWeights& w, const std::string& path) {
  const int64_t heads = w.heads;
  const int64_t dim = w.head_dim;
  const auto grouped = [&](const Matrix& m) {
    return m.cols() == w.q.cols() && m.rows() > 0 && m.rows() % dim == 0 &&
           heads % (m.rows() / dim) == 0;
  };
  if (!grouped(w.k) || !grouped(w.v) || w.out.rows() != w.q.cols() || w.out.cols() != w.q.rows()) {
    throw bad_input(
        {path,
         fmt::format("k_proj [{}, {}], v_proj [{}, {}], out_proj [{}, {}]", w.k.rows(), w.k.cols(),
                     w.v.rows(), w.v.cols(), w.out.rows(), w.out.cols()),
         fmt::format("needed beside q_proj [{}, {}] of {} heads: k_proj and v_proj [heads' divisor "
                     "* {}, {}], out_proj [{}, {}]",
                     w.q.rows(), w.q.cols(), heads, dim, w.q.cols(), w.q.cols(), w.q.rows()),
         "Check --weights-prefix and --fit-heads."});
  }
}

}  // namespace

HeadWeights synthetic_weights(const SyntheticSpectrum& spectrum) {
  HeadWeights w;
  w.heads = spectrum.heads;
  w.head_dim = spectrum.head_dim;
  w.d_model = spectrum.heads * spectrum.head_dim;
  Matrix* const all[] = {&w.q, &w.k, &w.v, &w.out};
  uint64_t stream = spectrum.seed * 16;
  for (Matrix* m : all) {
    *m = with_spectrum(w.d_model, spectrum.decay, stream);
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
                     "available: half of the free memory, " + bytes_text(usable),
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
  if (w.heads < 1 || w.q.rows() % w.heads != 0) {
    throw bad_input({"--fit-heads", std::to_string(w.heads),
                     fmt::format("allowed: divisors of q_proj's {} rows", w.q.rows()),
                     "Give the model's number of query heads."});
  }
  w.head_dim = w.q.rows() / w.heads;
  w.d_model = w.q.cols();
  check_shapes(w, from.path);
  const bool grouped = w.k.rows() != w.q.rows() || w.v.rows() != w.q.rows();
  w.k = repeat_heads(w.k, w.head_dim, w.heads);
  w.v = repeat_heads(w.v, w.head_dim, w.heads);
  w.source = from.path + (grouped ? ", grouped keys and values repeated for every head" : "");
  for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj", "o_proj"}) {
    if (file.header().find(from.prefix + name + ".bias") != nullptr) {
      w.left_out += (w.left_out.empty() ? "" : ", ") + std::string(name) + ".bias";
    }
  }
  return w;
}

}  // namespace seesaw::tools
