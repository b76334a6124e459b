#include "io/stop_request.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace seesaw::tools {
namespace {

std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a handler sets it");

// SA_RESETHAND takes the handler away again, so a second signal would kill without cleaning up:
// the previous handlers are put back instead.
struct sigaction previous_interrupt;
struct sigaction previous_terminate;

extern "C" void request_stop(int) {
  stop.store(true);
  const int error = errno;
  constexpr char kNote[] =
      "\nseesaw: stopping, and keeping what was found so far; once more stops at once\n";
  // Nothing can be done about a failing write here.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kNote, sizeof(kNote) - 1);
  errno = error;
  sigaction(SIGINT, &previous_interrupt, nullptr);
  sigaction(SIGTERM, &previous_terminate, nullptr);
}

}  // namespace

StopRequest::StopRequest() {
  stop.store(false);
  struct sigaction action = {};
  action.sa_handler = request_stop;
  sigfillset(&action.sa_mask);
  sigaction(SIGINT, nullptr, &previous_interrupt);
  sigaction(SIGTERM, nullptr, &previous_terminate);
  interrupt_ = previous_interrupt;
  terminate_ = previous_terminate;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

StopRequest::~StopRequest() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

bool StopRequest::wanted() const { return stop.load(); }

}  // namespace seesaw::tools
