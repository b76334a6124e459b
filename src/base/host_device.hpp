// Marks functions that are compiled for the CPU and, by nvcc, for the GPU too.
#pragma once

#if defined(__CUDACC__)
#define SEESAW_HOST_DEVICE __host__ __device__
#else
#define SEESAW_HOST_DEVICE
#endif
