// A backend: where and with what the models run. Adding one is an implementation of Ops, one of
// Backend, and a line in backends.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.hpp"
#include "baselines/problem.hpp"

namespace seesaw::baselines {

struct Support {
  bool supported = false;
  std::string reason;  // why not
};

// A problem prepared on one backend. Immutable: runs may be concurrent with different workspaces.
class Prepared {
 public:
  virtual ~Prepared() = default;

  virtual uint64_t workspace_bytes() const = 0;     // for any past of the problem
  virtual uint64_t num_products() const = 0;        // of one call
  virtual uint64_t converted_products() const = 0;  // of these, through float32 copies

  // Arguments are validated. Allocates nothing of its own; asynchronous on `stream` on a GPU.
  virtual Status run(const Call& call, void* workspace, void* stream) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;  // "cpu.onednn"
  virtual Support supports(const Problem& problem) const = 0;
  // The problem is supported.
  virtual Status prepare(const Problem& problem, std::unique_ptr<Prepared>* prepared) const = 0;
};

// Every backend this library knows, also those that this build lacks: they refuse, with a reason.
std::span<const Backend* const> backends();

// The backends; a build without one gets another definition of the same function.
const Backend& onednn_backend();    // cpu/backend.cpp or cpu/absent.cpp
const Backend& cublaslt_backend();  // cuda/backend.cpp or cuda_absent.cpp

}  // namespace seesaw::baselines
