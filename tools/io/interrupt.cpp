#include "io/interrupt.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstring>

#include "error.hpp"

namespace seesaw::tools {
namespace {

struct Slot {
  std::atomic<bool> claimed{false};  // by a RemoveOnSignal
  std::atomic<bool> armed{false};    // path is complete
  char path[PATH_MAX] = {};
};

std::array<Slot, 8> slots;

void write_message(const char* text) {
  // Nothing can be done about a failing write here.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
}

extern "C" void remove_and_exit(int signal_number) {
  for (Slot& slot : slots) {
    if (slot.armed.load()) {
      unlink(slot.path);
    }
  }
  if (signal_number == SIGBUS) {
    write_message(
        "seesaw: a mapped input file could not be read, it must stay as it is while in use. Copy "
        "it to a local disk and do not change it meanwhile.\n");
    _exit(static_cast<int>(ExitCode::kBadInput));
  }
  write_message("seesaw: interrupted; no file is half-written\n");
  _exit(static_cast<int>(ExitCode::kInterrupted));
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = remove_and_exit;
  sigfillset(&action.sa_mask);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGBUS}) {
    sigaction(signal_number, &action, nullptr);
  }
  // A reader that goes away (`seesaw check | head`) is an error of write, not a death.
  std::signal(SIGPIPE, SIG_IGN);
}

RemoveOnSignal::RemoveOnSignal(const std::string& path) : slot_(-1) {
  if (path.size() >= PATH_MAX) {
    throw bad_input({path.substr(0, 60) + "...", "path too long",
                     "allowed: " + std::to_string(PATH_MAX - 1) + " bytes", "Shorten it."});
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i].claimed.exchange(true)) {
      std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
      slots[i].armed.store(true);
      slot_ = static_cast<int>(i);
      return;
    }
  }
  throw Failure(ExitCode::kInternal, "seesaw: more than 8 output files at once");
}

RemoveOnSignal::~RemoveOnSignal() {
  Slot& slot = slots[static_cast<size_t>(slot_)];
  slot.armed.store(false);
  slot.claimed.store(false);
}

}  // namespace seesaw::tools
