// In a child of fork(): OpenMP's pool, which the parent used, is not there.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "unit/ops/dense_decode/kernel_test.hpp"

namespace seesaw::testing {
namespace {

class ForkedChild : public KernelTest {};

INSTANTIATE_TEST_SUITE_P(Kernels, ForkedChild, every_kernel(), kernel_name);

TEST_P(ForkedChild, GivesTheParentsBits) {
  const DecodeSpec spec{.seq_lens = {700, 1, 300}, .h_q = 4, .scale = 1.0F};
  const DecodeResults parents = run(spec, 4);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);  // ends the child if it waits for threads that there are not
    _exit(parents == run(spec, 4) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace seesaw::testing
