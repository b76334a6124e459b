#include "baselines/cuda/cublaslt.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "base/message.hpp"

namespace seesaw::baselines {
namespace {

#define SEESAW_TEXT_OF(value) #value
#define SEESAW_LIBRARY_OF(major) "libcublasLt.so." SEESAW_TEXT_OF(major)
constexpr const char* kLibrary = SEESAW_LIBRARY_OF(CUBLAS_VER_MAJOR);
#undef SEESAW_LIBRARY_OF
#undef SEESAW_TEXT_OF

std::vector<std::string> places() {
  if (const char* named = std::getenv("SEESAW_CUBLASLT"); named != nullptr && *named != '\0') {
    return {named};
  }
  return {kLibrary, std::string("/usr/local/cuda/lib64/") + kLibrary};
}

std::string refusal(const std::string& arrived) {
  return four_part_message("baselines", arrived,
                           std::string(kLibrary) +
                               " where the loader looks, in /usr/local/cuda/lib64, or named by "
                               "SEESAW_CUBLASLT",
                           "Install CUDA's cuBLAS, or set SEESAW_CUBLASLT to the library's path.");
}

template <typename Function>
bool find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

bool find_all(void* library, CublasLt* lt) {
  return find(library, "cublasLtCreate", &lt->create) &&
         find(library, "cublasLtDestroy", &lt->destroy) &&
         find(library, "cublasLtGetStatusName", &lt->status_name) &&
         find(library, "cublasLtMatmul", &lt->matmul) &&
         find(library, "cublasLtMatmulAlgoGetHeuristic", &lt->heuristic) &&
         find(library, "cublasLtMatmulDescInit_internal", &lt->init_operation) &&
         find(library, "cublasLtMatmulDescSetAttribute", &lt->set_operation) &&
         find(library, "cublasLtMatrixLayoutInit_internal", &lt->init_layout) &&
         find(library, "cublasLtMatrixLayoutSetAttribute", &lt->set_layout) &&
         find(library, "cublasLtMatmulPreferenceInit_internal", &lt->init_preference) &&
         find(library, "cublasLtMatmulPreferenceSetAttribute", &lt->set_preference);
}

// The library stays open for the life of the process.
CublasLtAnswer open_library(CublasLt* lt) {
  std::string failures;
  for (const std::string& place : places()) {
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* error = dlerror();
      failures += (failures.empty() ? "" : "; ") + std::string(error == nullptr ? place : error);
      continue;
    }
    if (find_all(library, lt)) {
      return {lt, {}};
    }
    return {nullptr, refusal(place + " lacks functions of cuBLASLt")};
  }
  return {nullptr, refusal("no cuBLASLt (" + failures + ")")};
}

}  // namespace

const CublasLtAnswer& cublaslt() {
  static CublasLt functions;
  static const CublasLtAnswer answer = open_library(&functions);
  return answer;
}

Status status_of(const CublasLt& lt, cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) {
    return {};
  }
  return device_error(
      four_part_message("baselines", std::string(what) + " failed with " + lt.status_name(status),
                        "CUBLAS_STATUS_SUCCESS",
                        "The error may come from earlier work on this device; CUBLASLT_LOG_LEVEL=5 "
                        "shows the calls."));
}

}  // namespace seesaw::baselines
