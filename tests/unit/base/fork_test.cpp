#include "base/fork.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

namespace seesaw {
namespace {

// How many threads a child of fork() may have that wants 8.
int threads_in_a_child() {
  const pid_t child = fork();
  if (child == 0) {
    _exit(threads_here(8));
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}

TEST(Fork, AChildOfOneThreadMayHaveMany) { EXPECT_EQ(threads_in_a_child(), 8); }

TEST(Fork, AChildOfSeveralThreadsHasOne) {
  std::promise<void> forked;
  std::thread other([&] { forked.get_future().wait(); });
  EXPECT_EQ(threads_in_a_child(), 1);
  forked.set_value();
  other.join();
  EXPECT_EQ(threads_here(8), 8);  // the parent's stay
}

}  // namespace
}  // namespace seesaw
