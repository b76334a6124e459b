#include "support/exact.hpp"

#include <stdexcept>

#include "api/structs.hpp"
#include "kernels/reference/exact.hpp"

namespace seesaw::testing {
namespace {

void require(const Status& status) {
  if (!status.ok()) {
    throw std::invalid_argument(status.message());
  }
}

}  // namespace

void exact_dense_decode(const seesaw_dense_decode_problem& problem,
                        const seesaw_dense_decode_args& inputs, double* out, double* lse) {
  DenseDecodeProblem described;
  DenseDecodeArguments arguments;
  require(api::read_problem(&problem, &described));
  require(api::read_tensor("q", inputs.q, &arguments.q));
  require(api::read_tensor("kv_cache", inputs.kv_cache, &arguments.kv_cache));
  require(api::read_tensor("block_table", inputs.block_table, &arguments.block_table));
  require(api::read_tensor("seq_lens", inputs.seq_lens, &arguments.seq_lens));
  arguments.batch = arguments.seq_lens.shape[0];
  arguments.scale = inputs.scale;
  reference::dense_decode_exact(described, arguments, {out, lse});
}

}  // namespace seesaw::testing
