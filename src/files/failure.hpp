// What a file's reader throws: a refusal in four parts, and text from files made safe to show.
#pragma once

#include <stdexcept>
#include <string>

namespace seesaw::files {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The four parts of a refusal: "where: arrived, allowed. advice"
struct Complaint {
  std::string where;
  std::string arrived;
  std::string allowed;
  std::string advice;
};

inline std::string message_of(const Complaint& complaint) {
  return complaint.where + ": " + complaint.arrived + ", " + complaint.allowed + ". " +
         complaint.advice;
}

inline Failure bad_input(const Complaint& complaint) { return Failure(message_of(complaint)); }

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

}  // namespace seesaw::files
