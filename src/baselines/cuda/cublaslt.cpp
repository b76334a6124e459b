#include "baselines/cuda/cublaslt.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "base/message.hpp"

namespace seesaw::baselines {
namespace {

std::string library_name() { return "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR); }

// The file that the user names, or null.
const char* named_library() {
  const char* named = std::getenv("SEESAW_CUBLASLT");
  return named == nullptr || *named == '\0' ? nullptr : named;
}

void* open_library() {
  if (const char* named = named_library(); named != nullptr) {
    return dlopen(named, RTLD_NOW | RTLD_LOCAL);
  }
  void* library = dlopen(library_name().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    library = dlopen(("/usr/local/cuda/lib64/" + library_name()).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  return library;
}

// What the loader's last failure was.
std::string loader_error() {
  const char* error = dlerror();
  return error == nullptr ? "no error of the loader" : error;
}

template <typename Function>
bool find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

// Structs and enumerators are those of the header, so another major version may not be called.
// Its number is major * 10000 + minor * 100 + patch.
static_assert(CUBLAS_VERSION / 10000 == CUBLAS_VER_MAJOR);
bool is_of_headers_major(size_t version) { return version / 10000 == CUBLAS_VER_MAJOR; }

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

CublasLtAnswer refuse(const std::string& reason) {
  const char* named = named_library();
  const std::string asked =
      named == nullptr ? "no " + library_name() : std::string("SEESAW_CUBLASLT = ") + named;
  return {nullptr,
          four_part_message("baselines", asked + " (" + reason + ")", library_name() + " of CUDA",
                            "Install cuBLAS, or set SEESAW_CUBLASLT.")};
}

}  // namespace

// The library stays open for the life of the process.
CublasLtAnswer find_cublaslt(CublasLt* lt) {
  void* library = open_library();
  if (library == nullptr) {
    return refuse(loader_error());
  }
  decltype(&cublasLtGetVersion) get_version = nullptr;
  if (!find(library, "cublasLtGetVersion", &get_version)) {
    return refuse(loader_error());
  }
  if (const size_t version = get_version(); !is_of_headers_major(version)) {
    return refuse("its version is " + std::to_string(version));
  }
  if (!find_all(library, lt)) {
    return refuse(loader_error());
  }
  return {lt, {}};
}

const CublasLtAnswer& cublaslt() {
  static CublasLt functions;
  static const CublasLtAnswer answer = find_cublaslt(&functions);
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
