#include "compare/svd.hpp"

#include <Eigen/Dense>
#include <cmath>
#include <numeric>

namespace seesaw::tools {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const RowMajor> view(const Matrix& m) {
  return {m.values.data(), static_cast<Eigen::Index>(m.rows), static_cast<Eigen::Index>(m.columns)};
}

template <typename Derived>
Matrix matrix_of(const Eigen::MatrixBase<Derived>& from) {
  Matrix m(static_cast<size_t>(from.rows()), static_cast<size_t>(from.cols()));
  Eigen::Map<RowMajor>(m.values.data(), from.rows(), from.cols()) = from;
  return m;
}

}  // namespace

double Svd::truncation_error(size_t rank) const {
  const auto square = [](double sum, double x) { return sum + x * x; };
  const auto cut = s.begin() + static_cast<std::ptrdiff_t>(std::min(rank, s.size()));
  const double whole = std::accumulate(s.begin(), s.end(), 0.0, square);
  return whole > 0 ? std::sqrt(std::accumulate(cut, s.end(), 0.0, square) / whole) : 0;
}

Svd decompose(const Matrix& a) {
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(view(a), Eigen::ComputeThinU | Eigen::ComputeThinV);
  const auto& s = svd.singularValues();
  return {matrix_of(svd.matrixU()), {s.data(), s.data() + s.size()}, matrix_of(svd.matrixV())};
}

Matrix multiply(const Matrix& a, const Matrix& b) { return matrix_of(view(a) * view(b)); }

}  // namespace seesaw::tools
