// Seesaw baselines: C++20 over the C ABI of baselines.h: header only, exceptions for errors, RAII
// for plans. Equations, shapes and flags are documented there.
//
//   seesaw::Baseline layer({.model = SEESAW_BASELINE_MHA, .batch = 1, .tokens = 1024,
//                           .d_model = 2048, .num_heads = 32});
//   seesaw::AlignedBuffer workspace(layer.workspace_bytes());      // CPU memory; on a GPU: yours
//   layer.run({.x = x, .weights = weights, .out = out,             // weights as in parameters()
//              .workspace = workspace.data(), .workspace_bytes = workspace.size()});
#ifndef SEESAW_BASELINES_HPP_
#define SEESAW_BASELINES_HPP_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "seesaw/baselines.h"
#include "seesaw/seesaw.hpp"

namespace seesaw {

// Throws Error unless `status` of a seesaw_baselines function is SEESAW_OK.
inline void check_baseline(seesaw_status status) {
  if (status != SEESAW_OK) {
    throw Error(status, seesaw_baselines_last_error());
  }
}

// A layer before any data: fields as in seesaw_baseline_problem; 0 takes the default there.
struct BaselineDescriptor {
  seesaw_device device = kCpu;
  seesaw_baseline_model model = SEESAW_BASELINE_MHA;
  seesaw_dtype dtype = SEESAW_FLOAT32;
  int64_t batch = 1;
  int64_t tokens = 1;
  int64_t cache_capacity = 0;
  int64_t d_model = 0;
  int64_t num_heads = 1;
  int64_t head_dim = 0;
  int64_t d_latent = 0;
  int64_t d_q_latent = 0;
  int64_t d_nope = 0;
  int64_t d_rope = 0;
  int64_t d_v = 0;
  int64_t chunk_size = 0;
  double rope_theta = 0.0;
  float norm_epsilon = 0.0F;
  float scale = 0.0F;
  uint32_t flags = 0;
  int32_t num_threads = 0;
  double rope_factor = 0.0;
  int64_t rope_original_positions = 0;
  double rope_beta_fast = 0.0;
  double rope_beta_slow = 0.0;
  double rope_mscale = 0.0;
  double rope_mscale_all_dim = 0.0;

  seesaw_baseline_problem to_c() const {
    seesaw_baseline_problem problem{};
    problem.struct_size = sizeof(problem);
    problem.device = device;
    problem.model = model;
    problem.dtype = dtype;
    problem.batch = batch;
    problem.tokens = tokens;
    problem.cache_capacity = cache_capacity;
    problem.d_model = d_model;
    problem.num_heads = num_heads;
    problem.head_dim = head_dim;
    problem.d_latent = d_latent;
    problem.d_q_latent = d_q_latent;
    problem.d_nope = d_nope;
    problem.d_rope = d_rope;
    problem.d_v = d_v;
    problem.chunk_size = chunk_size;
    problem.rope_theta = rope_theta;
    problem.norm_epsilon = norm_epsilon;
    problem.scale = scale;
    problem.flags = flags;
    problem.num_threads = num_threads;
    problem.rope_factor = rope_factor;
    problem.rope_original_positions = rope_original_positions;
    problem.rope_beta_fast = rope_beta_fast;
    problem.rope_beta_slow = rope_beta_slow;
    problem.rope_mscale = rope_mscale;
    problem.rope_mscale_all_dim = rope_mscale_all_dim;
    return problem;
  }
};

// The tensors of one call: fields as in seesaw_baselines_args.
struct BaselineTensors {
  seesaw_tensor x;
  std::vector<seesaw_tensor> weights = {};
  seesaw_tensor mask = {};       // data == nullptr: none
  seesaw_tensor positions = {};  // data == nullptr: past_tokens + i
  seesaw_tensor cache = {};      // data == nullptr: the plan has no cache
  seesaw_tensor out = {};
  int64_t past_tokens = 0;
  void* workspace = nullptr;
  uint64_t workspace_bytes = 0;
  void* stream = nullptr;
};

// Names and shapes of a layer's parameters, in the order that a run takes them.
inline std::vector<seesaw_baseline_parameter> parameters(const BaselineDescriptor& descriptor) {
  const seesaw_baseline_problem problem = descriptor.to_c();
  uint64_t count = 0;
  check_baseline(seesaw_baselines_parameters(&problem, nullptr, 0, &count));
  std::vector<seesaw_baseline_parameter> rows(count);
  check_baseline(seesaw_baselines_parameters(&problem, rows.data(), rows.size(), &count));
  return rows;
}

// Every backend, and why not.
inline std::vector<KernelSupport> supports(const BaselineDescriptor& descriptor) {
  const seesaw_baseline_problem problem = descriptor.to_c();
  uint64_t count = 0;
  check_baseline(seesaw_baselines_supports(&problem, nullptr, 0, &count));
  std::vector<seesaw_kernel_support> rows(count);
  check_baseline(seesaw_baselines_supports(&problem, rows.data(), rows.size(), &count));
  std::vector<KernelSupport> answers;
  answers.reserve(rows.size());
  for (const seesaw_kernel_support& row : rows) {
    answers.push_back({row.kernel, row.supported != 0, row.reason});
  }
  return answers;
}

// Operations and bytes of one call.
inline seesaw_baseline_cost cost(const BaselineDescriptor& descriptor, int64_t past_tokens = 0) {
  const seesaw_baseline_problem problem = descriptor.to_c();
  seesaw_baseline_cost result{};
  result.struct_size = sizeof(result);
  check_baseline(seesaw_baselines_cost(&problem, past_tokens, &result));
  return result;
}

// A layer prepared for one shape. Immutable, so it may be shared between threads. Movable.
class Baseline {
 public:
  explicit Baseline(const BaselineDescriptor& descriptor) {
    const seesaw_baseline_problem problem = descriptor.to_c();
    seesaw_baselines_plan* plan = nullptr;
    check_baseline(seesaw_baselines_plan_create(&problem, &plan));
    plan_.reset(plan);
    info_.struct_size = sizeof(info_);
    check_baseline(seesaw_baselines_plan_get_info(plan, &info_));
  }

  const seesaw_baselines_plan_info& info() const noexcept { return info_; }
  const char* backend() const noexcept { return info_.backend; }
  size_t workspace_bytes() const noexcept { return info_.workspace_bytes; }
  const seesaw_baselines_plan* get() const noexcept { return plan_.get(); }

  void run(const BaselineTensors& call) const {
    seesaw_baselines_args args{};
    args.struct_size = sizeof(args);
    args.x = call.x;
    args.weights = call.weights.data();
    args.num_weights = call.weights.size();
    args.mask = call.mask;
    args.positions = call.positions;
    args.cache = call.cache;
    args.out = call.out;
    args.past_tokens = call.past_tokens;
    args.workspace = call.workspace;
    args.workspace_bytes = call.workspace_bytes;
    args.stream = call.stream;
    check_baseline(seesaw_baselines_run(plan_.get(), &args));
  }

 private:
  struct Destroy {
    void operator()(seesaw_baselines_plan* plan) const noexcept {
      seesaw_baselines_plan_destroy(plan);
    }
  };
  std::unique_ptr<seesaw_baselines_plan, Destroy> plan_;
  seesaw_baselines_plan_info info_{};
};

}  // namespace seesaw

#endif  // SEESAW_BASELINES_HPP_
