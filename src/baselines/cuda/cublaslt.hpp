// cuBLASLt, found at run time: its library is half a gigabyte and absent from many machines, so
// nothing is linked with it. Functions as in NVIDIA's "cuBLAS Library", chapter "Using the cublasLt
// API"; types from its header, and so only the library of the header's major version will do.
#pragma once

#include <cublasLt.h>

#include <string>

#include "base/status.hpp"

namespace seesaw::baselines {

struct CublasLt {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetStatusName) status_name = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescInit_internal) init_operation = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation = nullptr;
  decltype(&cublasLtMatrixLayoutInit_internal) init_layout = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) set_layout = nullptr;
  decltype(&cublasLtMatmulPreferenceInit_internal) init_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
};

struct CublasLtAnswer {
  const CublasLt* functions = nullptr;  // lives as long as the process; null if absent
  std::string why_not;                  // in four parts
};

// Looks for the file that $SEESAW_CUBLASLT names, or else for libcublasLt.so of the header's major
// version: among what the process has loaded (PyTorch brings it), where the loader looks, and in
// /usr/local/cuda/lib64. Thread-safe; once per process.
const CublasLtAnswer& cublaslt();

// The same, looking each time; what is found goes to *functions.
CublasLtAnswer find_cublaslt(CublasLt* functions);

// OK for CUBLAS_STATUS_SUCCESS, else a device error: `what` failed, with cuBLASLt's name for it.
Status status_of(const CublasLt& lt, cublasStatus_t status, const char* what);

}  // namespace seesaw::baselines
