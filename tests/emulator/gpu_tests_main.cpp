// Runs tests/gpu's tests of the planner and the combine on the emulator; its quick ones unless told
// otherwise. Usage: emulator_gpu_tests [backward] [gtest's flags]
#include <gtest/gtest.h>

#include <string>

#include "simt.hpp"

int main(int argc, char** argv) {
  ::testing::GTEST_FLAG(filter) = "Quick.*";
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::string(argv[1]) == "backward") {
    seesaw::emulator::conditions.order = seesaw::emulator::Order::kBackward;
  }
  return RUN_ALL_TESTS();
}
