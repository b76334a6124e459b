// What the ladder's two programs share at their edges: their command lines, one line for whatever
// ends them early, and files that are whole or stay as they were.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.hpp"

namespace CLI {
class App;
}

namespace seesaw::ladder {

// Exit statuses, as those of the seesaw command; scripts depend on them.
inline constexpr int kWrong = 1;     // a rung was wrong or failed
inline constexpr int kBadInput = 2;  // usage, files: the caller's to mend
inline constexpr int kFailed = 3;    // this program failed

// The status of `body`. What it throws becomes one line on stderr and kFailed.
int run_program(const char* name, const std::function<int()>& body);

// Says on stderr what was refused; returns kBadInput.
int refuse(const Status& status);

// The status to end with at once, after --help or a bad command line; none if it was parsed.
std::optional<int> parse(CLI::App& app, const char* name, int argc, const char* const* argv);

// Prints on standard output. Without success (a full disk) it says so on stderr.
bool show(const std::string& text);

// Whether write_file may succeed: found before the work whose result the file is to hold. "-" is
// standard output and always may.
Status check_output(const char* option, const std::string& path);

// The text goes to a file beside `path` that is then renamed, so that neither a full disk nor a
// signal leaves half of it; "-" is standard output. Without success it says so on stderr.
bool write_file(const char* option, const std::string& path, const std::string& text);

}  // namespace seesaw::ladder
