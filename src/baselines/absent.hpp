// A backend that this build lacks: it refuses, with the reason.
#pragma once

#include <string>
#include <utility>

#include "baselines/backend.hpp"

namespace seesaw::baselines {

class AbsentBackend final : public Backend {
 public:
  AbsentBackend(const char* name, std::string reason) : name_(name), reason_(std::move(reason)) {}

  const char* name() const override { return name_; }
  Support supports(const Problem&) const override { return {false, reason_}; }
  Status prepare(const Problem&, std::unique_ptr<Prepared>*) const override {
    return not_supported(std::string(name_) + ": " + reason_);
  }

 private:
  const char* name_;
  std::string reason_;
};

}  // namespace seesaw::baselines
