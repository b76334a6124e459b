// Ranges on the timeline of a profiler that understands NVTX (Nsight Systems, Nsight Compute): one
// around each plan, schedule and run, in the domain "seesaw". Compiled with CUDA, whose headers
// hold NVTX; without a profiler a range is a test of one pointer.
#pragma once

#if defined(SEESAW_WITH_CUDA)
#include <nvtx3/nvToolsExt.h>
#endif

namespace seesaw::engine {

#if defined(SEESAW_WITH_CUDA)

// The domain "seesaw", or null if no profiler is attached. The first call looks for one.
nvtxDomainHandle_t nvtx_domain() noexcept;

class NvtxRange {
 public:
  // Named "`where`", or "`where` `kernel`" if there is a kernel.
  NvtxRange(const char* where, const char* kernel) noexcept : domain_(nvtx_domain()) {
    if (domain_ != nullptr) {
      push(where, kernel);
    }
  }
  ~NvtxRange() {
    if (domain_ != nullptr) {
      nvtxDomainRangePop(domain_);
    }
  }
  NvtxRange(const NvtxRange&) = delete;
  NvtxRange& operator=(const NvtxRange&) = delete;

 private:
  void push(const char* where, const char* kernel) const noexcept;

  nvtxDomainHandle_t domain_;
};

#else

class NvtxRange {
 public:
  NvtxRange(const char* /*where*/, const char* /*kernel*/) noexcept {}
};

#endif

}  // namespace seesaw::engine
