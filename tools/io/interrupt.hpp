// What a signal must clean up. A handler may only make system calls, so the names of files in the
// making are kept in plain static storage.
#pragma once

#include <string>

namespace seesaw::tools {

// SIGINT, SIGTERM and SIGHUP remove the registered files and exit with 130. SIGBUS, which a mapped
// file raises when somebody shortens it, does the same and exits with 2. Call once, from main.
void install_signal_handlers();

// While alive, `path` is removed if a signal ends the program. At most 8 at a time; no effect on
// the file when destroyed.
class RemoveOnSignal {
 public:
  explicit RemoveOnSignal(const std::string& path);
  ~RemoveOnSignal();
  RemoveOnSignal(const RemoveOnSignal&) = delete;
  RemoveOnSignal& operator=(const RemoveOnSignal&) = delete;

 private:
  int slot_;
};

}  // namespace seesaw::tools
