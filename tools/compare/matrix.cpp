#include "compare/matrix.hpp"

#include <Eigen/SVD>
#include <algorithm>

namespace seesaw::tools {

Values values_of(const Matrix& matrix) { return {matrix.data(), matrix.data() + matrix.size()}; }

Eigen::Map<const Matrix> matrix_of(const Values& values, int64_t columns) {
  return {values.data(), static_cast<int64_t>(values.size()) / columns, columns};
}

double Svd::truncation_error(int64_t rank) const {
  const double whole = s.norm();
  return whole > 0 ? s.tail(s.size() - std::min<int64_t>(rank, s.size())).norm() / whole : 0;
}

Svd decompose(const Matrix& a) {
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(a, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.matrixU(), svd.singularValues(), svd.matrixV()};
}

}  // namespace seesaw::tools
