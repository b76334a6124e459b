// Tests that run under all conditions: what a GPU leaves open must not matter.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "simt.hpp"

namespace seesaw::emulator {

inline constexpr std::array<Conditions, 6> kAnyConditions = {
    Conditions{Order::kForward, Timing::kEager},
    Conditions{Order::kForward, Timing::kLazy},
    Conditions{Order::kForward, Timing::kLateProducts},
    Conditions{Order::kBackward, Timing::kEager},
    Conditions{Order::kBackward, Timing::kLazy},
    Conditions{Order::kBackward, Timing::kLateProducts}};

// Of kernels whose products are done when they are issued (mma.sync): late products change nothing.
inline constexpr std::array<Conditions, 4> kConditionsOfCopies = {
    Conditions{Order::kForward, Timing::kEager}, Conditions{Order::kForward, Timing::kLazy},
    Conditions{Order::kBackward, Timing::kEager}, Conditions{Order::kBackward, Timing::kLazy}};

inline std::string name_of(const Conditions& of) {
  constexpr const char* kTimings[] = {"Eager", "Lazy", "LateProducts"};
  return std::string(of.order == Order::kForward ? "Forward" : "Backward") +
         kTimings[static_cast<int>(of.timing)];
}

class UnderAnyConditions : public ::testing::TestWithParam<Conditions> {
 private:
  UnderConditions here_{GetParam()};
};

// INSTANTIATE_TEST_SUITE_P(Emulated, SomeTest, ::testing::ValuesIn(kAnyConditions),
// kNameOfConditions);
inline constexpr auto kNameOfConditions = [](const auto& test) { return name_of(test.param); };

}  // namespace seesaw::emulator
