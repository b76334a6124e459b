// Dense linear algebra in double that fits need: Eigen behind two functions, in one translation
// unit, because its headers are long.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace seesaw::tools {

struct Matrix {
  size_t rows = 0;
  size_t columns = 0;
  std::vector<double> values;  // row-major

  Matrix() = default;
  Matrix(size_t r, size_t c) : rows(r), columns(c), values(r * c, 0.0) {}
  Matrix(size_t r, size_t c, std::vector<double> v) : rows(r), columns(c), values(std::move(v)) {}
  double& at(size_t i, size_t j) { return values[i * columns + j]; }
  double at(size_t i, size_t j) const { return values[i * columns + j]; }
};

// a = u diag(s) v^T with orthonormal columns of u and v, s falling.
struct Svd {
  Matrix u;  // [rows, min(rows, columns)]
  std::vector<double> s;
  Matrix v;  // [columns, min(rows, columns)]

  // ||a - a_rank|| / ||a|| in the Frobenius norm, of the best approximation of that rank.
  double truncation_error(size_t rank) const;
};
Svd decompose(const Matrix& a);

Matrix multiply(const Matrix& a, const Matrix& b);

}  // namespace seesaw::tools
