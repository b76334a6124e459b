// The tests, on the instruction set that SEESAW_CPU_TARGET names. On a CPU without it they would
// run the next lower one again: then nothing is run, and the exit code is 77.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "cpu/select.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* wanted = std::getenv("SEESAW_CPU_TARGET");
  if (wanted != nullptr && *wanted != '\0') {
    const auto choice = seesaw::cpu::choose_target();
    if (choice && seesaw::cpu::kTargetNames[static_cast<size_t>(choice->target)] != wanted) {
      std::printf("skipped: this CPU has no %s, or the operating system refuses it\n", wanted);
      return 77;
    }
  }
  return RUN_ALL_TESTS();
}
