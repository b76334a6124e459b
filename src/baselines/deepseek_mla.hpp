// Of DeepSeek's layer, what does not depend on how it attends: its parameters and its query.
#pragma once

#include "baselines/linear.hpp"
#include "baselines/ops.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

struct DeepSeekParameters {
  Linear q_proj;        // [H (d_nope + R), d_model]; or, with a low-rank query, the next three:
  Linear q_a_proj;      // [d_q_latent, d_model]
  View q_a_layernorm;   // [d_q_latent]
  Linear q_b_proj;      // [H (d_nope + R), d_q_latent]
  Linear kv_a_proj;     // [L + R, d_model]
  View kv_a_layernorm;  // [L]
  View kv_b_proj;       // [H (d_nope + V), L]
  Linear o_proj;        // [d_model, H V]
};

DeepSeekParameters read_parameters(const Call& call);

// [1] q [B, 1, N, H (d_nope + R)], not yet rotated.
Status project_query(Ops& ops, const Call& call, const DeepSeekParameters& parameters,
                     const View& q);

}  // namespace seesaw::baselines
