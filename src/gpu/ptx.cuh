// Thin wrappers of the PTX instructions that the kernels use, a file an instruction family; nothing
// here knows of attention. This header is all of them: for the ladder. Kernels include what they
// use.
#pragma once

#include "gpu/ptx/arithmetic.cuh"
#include "gpu/ptx/clock.cuh"
#include "gpu/ptx/cp_async.cuh"
#include "gpu/ptx/global_memory.cuh"
#include "gpu/ptx/grid_dependency.cuh"
#include "gpu/ptx/matrix.cuh"
#include "gpu/ptx/mbarrier.cuh"
#include "gpu/ptx/mma.cuh"
#include "gpu/ptx/named_barrier.cuh"
#include "gpu/ptx/registers.cuh"
#include "gpu/ptx/shared_memory.cuh"
#include "gpu/ptx/tma.cuh"
#include "gpu/ptx/wgmma.cuh"
