/* The header is C: compiled by a C compiler, called from C. */
#include "seesaw/baselines.h"

#include <stdlib.h>

#define D_MODEL 4

const char* baselines_from_c(void);

static seesaw_tensor tensor_of(float* data, int32_t rank, int64_t rows, int64_t columns) {
  seesaw_tensor tensor = {0};
  tensor.data = data;
  tensor.rank = rank;
  tensor.dtype = SEESAW_FLOAT32;
  tensor.device.type = SEESAW_CPU;
  tensor.shape[rank - 2] = rows;
  tensor.shape[rank - 1] = columns;
  tensor.stride[rank - 2] = columns;
  tensor.stride[rank - 1] = 1;
  if (rank == 3) {
    tensor.shape[0] = 1;
    tensor.stride[0] = rows * columns;
  }
  return tensor;
}

/* With every weight the identity, one token attends to itself: out is x. */
static const char* run_identity(const seesaw_baselines_plan* plan, void* workspace,
                                uint64_t workspace_bytes) {
  float identity[D_MODEL * D_MODEL] = {0};
  float x[D_MODEL];
  float out[D_MODEL] = {0};
  seesaw_tensor weights[4];
  seesaw_baselines_args args = {0};
  for (int i = 0; i < D_MODEL; ++i) {
    identity[i * D_MODEL + i] = 1.0F;
    x[i] = 1.0F;
  }
  for (int i = 0; i < 4; ++i) {
    weights[i] = tensor_of(identity, 2, D_MODEL, D_MODEL);
  }
  args.struct_size = sizeof args;
  args.x = tensor_of(x, 3, 1, D_MODEL);
  args.weights = weights;
  args.num_weights = 4;
  args.out = tensor_of(out, 3, 1, D_MODEL);
  args.workspace = workspace;
  args.workspace_bytes = workspace_bytes;
  if (seesaw_baselines_run(plan, &args) != SEESAW_OK) {
    return seesaw_baselines_last_error();
  }
  for (int i = 0; i < D_MODEL; ++i) {
    if (out[i] != 1.0F) {
      return "the layer of identities changed x";
    }
  }
  return NULL;
}

static const char* check_plan(const seesaw_baselines_plan* plan) {
  seesaw_baselines_plan_info info = {0};
  void* workspace;
  const char* failure;
  info.struct_size = sizeof info;
  if (seesaw_baselines_plan_get_info(plan, &info) != SEESAW_OK) {
    return seesaw_baselines_last_error();
  }
  if (info.num_parameters != 4 || info.cache_width != 2 * D_MODEL) {
    return "wrong plan info";
  }
  workspace = aligned_alloc(256, info.workspace_bytes); /* the size is a multiple of 256 */
  if (workspace == NULL) {
    return "no memory for the workspace";
  }
  failure = run_identity(plan, workspace, info.workspace_bytes);
  free(workspace);
  return failure;
}

/* NULL if a layer of one head runs from C as it should; otherwise what failed. */
const char* baselines_from_c(void) {
  seesaw_baseline_problem problem = {0};
  seesaw_baselines_plan* plan = NULL;
  const char* failure;
  problem.struct_size = sizeof problem;
  problem.device.type = SEESAW_CPU;
  problem.model = SEESAW_BASELINE_MHA;
  problem.dtype = SEESAW_FLOAT32;
  problem.batch = 1;
  problem.tokens = 1;
  problem.d_model = D_MODEL;
  problem.num_heads = 1;
  if (seesaw_baselines_plan_create(&problem, &plan) != SEESAW_OK) {
    return seesaw_baselines_last_error();
  }
  failure = check_plan(plan);
  seesaw_baselines_plan_destroy(plan);
  return failure;
}
