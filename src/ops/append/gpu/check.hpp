// SEESAW_CHECK of gpu.append: slots, positions and scales in device memory.
#pragma once

#include "gpu/check_kernels.hpp"
#include "ops/append/gpu/append.hpp"

namespace seesaw::append::gpu {

// What *first_fault holds for each check: the least offender, or seesaw::gpu::kNoFault.
struct Faults {
  unsigned long long slot;      // token
  unsigned long long position;  // token
  unsigned long long scale;     // token * scales of a token + index
  unsigned long long kv_scale;  // 0
};

struct CheckParams {
  AppendParams call;
  Faults* faults;
};

// Clears the faults and looks for the least offenders, on `stream`.
cudaError_t launch_check(const CheckParams& params, cudaStream_t stream);

// Waits for the check and tells the first offender. `report`: sizeof(Faults) of device memory.
Status check(const AppendParams& params, const Args& args, void* report, cudaStream_t stream);

}  // namespace seesaw::append::gpu
