// Stands where the GPU backend would, in a build without CUDA or without cuBLASLt's header.
#include "baselines/absent.hpp"

namespace seesaw::baselines {

const Backend& cublaslt_backend() {
  static const AbsentBackend backend(
      "cuda.cublaslt",
      "this build has no CUDA, or not cublasLt.h: install both, configure with SEESAW_CUDA=ON");
  return backend;
}

}  // namespace seesaw::baselines
