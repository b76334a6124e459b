#include "baselines/backend.hpp"

namespace seesaw::baselines {

std::span<const Backend* const> backends() {
  static const Backend* const all[] = {&onednn_backend(), &cublaslt_backend()};
  return all;
}

}  // namespace seesaw::baselines
