// What ends a command early: a message for the user and the exit code that goes with it.
#pragma once

#include <stdexcept>
#include <string>

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

// The four parts of a refusal: "where: arrived, allowed. advice"
struct Complaint {
  std::string where;
  std::string arrived;
  std::string allowed;
  std::string advice;
};

inline Failure bad_input(const Complaint& complaint) {
  return {ExitCode::kBadInput, complaint.where + ": " + complaint.arrived + ", " +
                                   complaint.allowed + ". " + complaint.advice};
}

// Text from a file, made safe for a terminal: control bytes become '?', long text is cut.
inline std::string printable(const std::string& text) {
  constexpr size_t kLongest = 60;
  std::string safe = text.substr(0, kLongest);
  for (char& c : safe) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F) {
      c = '?';
    }
  }
  return text.size() > kLongest ? safe + "..." : safe;
}

}  // namespace seesaw::tools
