// What ends a command early: a message for the user and the exit code that goes with it.
#pragma once

#include <stdexcept>
#include <string>

#include "files/failure.hpp"

namespace seesaw::tools {

// Documented in docs/cli.md; scripts depend on these numbers.
enum class ExitCode : int {
  kOk = 0,
  kCheckFailed = 1,   // the command ran, and the errors are out of bound
  kBadInput = 2,      // usage, files, shapes: the caller's to mend
  kInternal = 3,      // the device or this program failed
  kInterrupted = 130  // SIGINT, SIGTERM or SIGHUP
};

class Failure : public std::runtime_error {
 public:
  Failure(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

using files::Complaint;
using files::printable;

inline Failure bad_input(const Complaint& complaint) {
  return {ExitCode::kBadInput, files::message_of(complaint)};
}

}  // namespace seesaw::tools
