#include "ops/dense_decode/exact.hpp"

#include "ops/dense_decode/attention.hpp"

namespace seesaw::dense_decode {

void dense_decode_exact(const DenseDecodeProblem& problem, const Args& args, int32_t num_threads,
                        const ExactResults& results) {
  attention::reference::exact(attention_of(problem), call_of(problem, args, {}),
                              problem.ragged != 0 ? args.q.shape[0] : problem.s_q, num_threads,
                              results);
}

}  // namespace seesaw::dense_decode
