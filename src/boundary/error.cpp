#include "boundary/error.hpp"

#include <cstdio>
#include <new>
#include <string>

namespace seesaw {
namespace {

struct LastError {
  std::string message;
  char fallback[160] = {};  // when there is no memory for the message
  bool use_fallback = false;
};

LastError& last_error() noexcept {
  thread_local LastError error;
  return error;
}

seesaw_status code_of(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::kOk:
      return SEESAW_OK;
    case StatusCode::kInvalidArgument:
      return SEESAW_INVALID_ARGUMENT;
    case StatusCode::kInvalidType:
      return SEESAW_INVALID_TYPE;
    case StatusCode::kNotSupported:
      return SEESAW_NOT_SUPPORTED;
    case StatusCode::kDeviceError:
      return SEESAW_DEVICE_ERROR;
    case StatusCode::kInternalError:
      return SEESAW_INTERNAL_ERROR;
  }
  return SEESAW_INTERNAL_ERROR;
}

void remember_fallback(const char* where, const char* what) noexcept {
  LastError& error = last_error();
  std::snprintf(error.fallback, sizeof(error.fallback),
                "%s: %s, allowed: no failure of this kind. Report it with the call's arguments.",
                where, what);
  error.use_fallback = true;
}

}  // namespace

const char* last_error_message() noexcept {
  const LastError& error = last_error();
  return error.use_fallback ? error.fallback : error.message.c_str();
}

seesaw_status report(const Status& status) noexcept {
  if (status.ok()) {
    return SEESAW_OK;
  }
  LastError& error = last_error();
  try {
    error.message = status.message();
    error.use_fallback = false;
  } catch (...) {
    remember_fallback("seesaw", "out of memory while reporting an error");
  }
  return code_of(status.code());
}

seesaw_status report_exception(const char* where) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    remember_fallback(where, "out of memory");
  } catch (const std::exception& exception) {
    remember_fallback(where, exception.what());
  } catch (...) {
    remember_fallback(where, "unknown exception");
  }
  return SEESAW_INTERNAL_ERROR;
}

}  // namespace seesaw
