// Stands where the CPU backend would, in a build without oneDNN.
#include "baselines/absent.hpp"

namespace seesaw::baselines {

const Backend& onednn_backend() {
  static const AbsentBackend backend(
      "cpu.onednn", "this build has no oneDNN: install libdnnl-dev and configure again");
  return backend;
}

}  // namespace seesaw::baselines
