// Dense linear algebra in double, by Eigen.
#pragma once

#include <Eigen/Core>
#include <vector>

namespace seesaw::tools {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Values = std::vector<double>;

// Row by row, as the library takes matrices.
Values values_of(const Matrix& matrix);
Eigen::Map<const Matrix> matrix_of(const Values& values, int64_t columns);

// a = u diag(s) v^T with orthonormal columns of u and v, s falling.
struct Svd {
  Matrix u;  // [rows, min(rows, columns)]
  Eigen::VectorXd s;
  Matrix v;  // [columns, min(rows, columns)]

  // ||a - a_rank|| / ||a|| in the Frobenius norm, of the best approximation of that rank.
  double truncation_error(int64_t rank) const;
};
// Its code is long: in one translation unit.
Svd decompose(const Matrix& a);

}  // namespace seesaw::tools
