// Stands where the GPU backend would, in a build without CUDA.
#include "baselines/absent.hpp"

namespace seesaw::baselines {

const Backend& cublaslt_backend() {
  static const AbsentBackend backend("cuda.cublaslt",
                                     "this build has no CUDA: configure with SEESAW_CUDA=ON");
  return backend;
}

}  // namespace seesaw::baselines
