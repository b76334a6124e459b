// From Status inside to code and thread-local message at the C boundary. Each shared library has a
// copy, and so a message of its own.
#pragma once

#include <exception>

#include "base/status.hpp"
#include "seesaw/seesaw.h"

namespace seesaw {

// The message of this thread's last failure in this library. Never null.
const char* last_error_message() noexcept;

// Remembers the message for last_error_message() and returns the code.
seesaw_status report(const Status& status) noexcept;

// The same for an exception that reached the boundary: out of memory, or a defect.
seesaw_status report_exception(const char* where) noexcept;

// Runs `body`, which returns Status, so that nothing is thrown across the C ABI.
template <typename Body>
seesaw_status at_boundary(const char* where, Body&& body) noexcept {
  try {
    return report(body());
  } catch (...) {
    return report_exception(where);
  }
}

}  // namespace seesaw
