// Ctrl-C as a wish: a long command that can stop early asks now and then whether it should.
#pragma once

#include <csignal>

namespace seesaw::tools {

// While alive, the first SIGINT or SIGTERM only sets a flag; the second does what it would have
// done before. One at a time.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  bool wanted() const;

 private:
  struct sigaction interrupt_;  // what was there before
  struct sigaction terminate_;
};

}  // namespace seesaw::tools
