/* The header is C: compiled by a C compiler, called from C. */
#include "seesaw/baselines.h"

const char* baselines_from_c(void);

/* NULL if a layer of one head runs from C as it should; otherwise what failed. */
const char* baselines_from_c(void) {
  seesaw_baseline_problem problem = {0};
  seesaw_baselines_plan_info info = {0};
  seesaw_baselines_plan* plan = NULL;
  problem.struct_size = sizeof problem;
  problem.device.type = SEESAW_CPU;
  problem.model = SEESAW_BASELINE_MHA;
  problem.dtype = SEESAW_FLOAT32;
  problem.batch = 1;
  problem.tokens = 1;
  problem.d_model = 4;
  problem.num_heads = 1;
  info.struct_size = sizeof info;
  if (seesaw_baselines_plan_create(&problem, &plan) != SEESAW_OK ||
      seesaw_baselines_plan_get_info(plan, &info) != SEESAW_OK) {
    return seesaw_baselines_last_error();
  }
  seesaw_baselines_plan_destroy(plan);
  return info.num_parameters == 4 && info.cache_width == 8 ? NULL : "wrong plan info";
}
