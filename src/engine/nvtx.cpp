#include "engine/nvtx.hpp"

#if defined(SEESAW_WITH_CUDA)

#include <cstdio>

namespace seesaw::engine {

// NVTX itself looks for a profiler once, in the environment that the profiler set for this process;
// dlopen, so not before the first call of ours.
nvtxDomainHandle_t nvtx_domain() noexcept {
  static const nvtxDomainHandle_t domain = nvtxDomainCreateA("seesaw");
  return domain;
}

void NvtxRange::push(const char* where, const char* kernel) const noexcept {
  char name[96];  // copied by the profiler
  std::snprintf(name, sizeof(name), kernel == nullptr ? "%s" : "%s %s", where, kernel);
  nvtxEventAttributes_t event = {};
  event.version = NVTX_VERSION;
  event.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  event.messageType = NVTX_MESSAGE_TYPE_ASCII;
  event.message.ascii = name;
  nvtxDomainRangePushEx(domain_, &event);
}

}  // namespace seesaw::engine

#endif
