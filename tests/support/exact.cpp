#include "support/exact.hpp"

#include <stdexcept>

#include "engine/structs.hpp"
#include "ops/dense_decode/reference/exact.hpp"

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
  require(engine::read_problem(&problem, &described));
  require(engine::read_tensor("q", inputs.q, &arguments.q));
  require(engine::read_tensor("kv_cache", inputs.kv_cache, &arguments.kv_cache));
  require(engine::read_tensor("block_table", inputs.block_table, &arguments.block_table));
  require(engine::read_tensor("seq_lens", inputs.seq_lens, &arguments.seq_lens));
  arguments.batch = arguments.seq_lens.shape[0];
  arguments.scale = inputs.scale;
  dense_decode::reference::dense_decode_exact(described, arguments, {out, lse});
}

}  // namespace seesaw::testing
