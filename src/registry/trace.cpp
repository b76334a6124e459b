#include "registry/trace.hpp"

#include "kernels/cpu/dense_decode.hpp"
#include "kernels/cpu/trace.hpp"
#ifdef SEESAW_WITH_CUDA
#include "kernels/sm90/dense_decode.hpp"
#include "kernels/sm90/dense_decode/trace.hpp"
#endif

namespace seesaw::registry {

TraceFunction trace_function(const DenseDecodeKernel& kernel) {
  if (kernel.run == cpu::run_dense_decode) {
    return cpu::trace_dense_decode;
  }
#ifdef SEESAW_WITH_CUDA
  if (kernel.run == sm90::run_dense_decode) {
    return sm90::trace_dense_decode;
  }
#endif
  return nullptr;
}

}  // namespace seesaw::registry
