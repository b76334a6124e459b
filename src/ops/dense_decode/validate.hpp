// Checks of what the caller brings, before anything is launched. Every rejection is a four-part
// message.
#pragma once

#include "base/status.hpp"
#include "ops/dense_decode/problem.hpp"

namespace seesaw {

// Shapes, dtypes and strides of a problem whose KV strides are resolved (resolve_strides).
Status validate_problem(const DenseDecodeProblem& problem);

// Replaces KV strides of 0 by those of a packed [num_pages, page_size, h_kv, d_qk] cache. Fails if
// they overflow.
Status resolve_strides(DenseDecodeProblem& problem);

// The lengths' tensor alone: [b] int32 on the problem's device, b <= problem.batch.
Status validate_seq_lens(const DenseDecodeProblem& problem, const TensorView& seq_lens);

// The tensors of one call against the problem that was planned. Touches no data.
Status validate_arguments(const DenseDecodeProblem& problem, const DenseDecodeArguments& arguments);

// Lengths in host memory: none above the block table's capacity and, if problem.check_data, none
// negative.
Status check_host_lengths(const DenseDecodeProblem& problem, const TensorView& seq_lens);

// Block-table entries in host memory that the lengths make live: each the id of a page.
Status check_host_block_table(const DenseDecodeProblem& problem,
                              const DenseDecodeArguments& arguments);

}  // namespace seesaw
