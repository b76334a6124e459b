#include "registry/trace.hpp"

#include "kernels/cpu/dense_decode.hpp"
#include "kernels/cpu/trace.hpp"

namespace seesaw::registry {

TraceFunction trace_function(const DenseDecodeKernel& kernel) {
  return kernel.run == cpu::run_dense_decode ? cpu::trace_dense_decode : nullptr;
}

}  // namespace seesaw::registry
