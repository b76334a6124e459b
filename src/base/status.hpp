// Outcome of an operation inside the library: a code, and a message in four parts: where, what
// arrived, what is allowed, what to do. The success path allocates nothing.
#pragma once

#include <string>
#include <utility>

namespace seesaw {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,
  kInvalidType,
  kNotSupported,
  kDeviceError,
  kInternalError
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status invalid_argument(std::string message) {
  return {StatusCode::kInvalidArgument, std::move(message)};
}
// The input has a wrong dtype.
inline Status invalid_type(std::string message) {
  return {StatusCode::kInvalidType, std::move(message)};
}
inline Status not_supported(std::string message) {
  return {StatusCode::kNotSupported, std::move(message)};
}
inline Status device_error(std::string message) {
  return {StatusCode::kDeviceError, std::move(message)};
}

}  // namespace seesaw

// Returns from the enclosing function, which returns Status, if `expression` failed.
#define SEESAW_RETURN_IF_ERROR(expression)                        \
  do {                                                            \
    if (::seesaw::Status status_ = (expression); !status_.ok()) { \
      return status_;                                             \
    }                                                             \
  } while (false)
