#include "support/exact.hpp"

#include <omp.h>

#include <cstring>
#include <stdexcept>

#include "engine/read.hpp"
#include "ops/dense_decode/exact.hpp"
#include "ops/dense_decode/operation.hpp"

namespace seesaw::testing {

void exact_dense_decode(const seesaw_dense_decode_problem& problem,
                        const seesaw_dense_decode_args& inputs, double* out, double* lse,
                        double* max_logits) {
  engine::ProblemBytes bytes;
  const Status status = engine::read_problem(dense_decode::kOperation, &problem, &bytes);
  if (!status.ok()) {
    throw std::invalid_argument(status.message());
  }
  dense_decode::DenseDecodeProblem described;
  std::memcpy(static_cast<seesaw_dense_decode_problem*>(&described), bytes.data,
              sizeof(seesaw_dense_decode_problem));
  dense_decode::dense_decode_exact(described, inputs, omp_get_max_threads(),
                                   {out, lse, max_logits});
}

}  // namespace seesaw::testing
