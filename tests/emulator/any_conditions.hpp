// Tests that run under all conditions: what a GPU leaves open must not matter.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "simt.hpp"

namespace seesaw::emulator {

// Any order, and shared memory that holds numbers: as an index, NaN would be -1.
inline constexpr Conditions kShuffled = {
    .order = Order::kShuffled, .timing = Timing::kLazy, .shared_starts_as = 0x41};

inline constexpr std::array<Conditions, 7> kAnyConditions = {
    Conditions{Order::kForward, Timing::kEager},
    Conditions{Order::kForward, Timing::kLazy},
    Conditions{Order::kForward, Timing::kLateProducts},
    Conditions{Order::kBackward, Timing::kEager},
    Conditions{Order::kBackward, Timing::kLazy},
    Conditions{Order::kBackward, Timing::kLateProducts},
    kShuffled};

// Of kernels whose products are done when they are issued (mma.sync): late products change nothing.
inline constexpr std::array<Conditions, 5> kConditionsOfCopies = {
    Conditions{Order::kForward, Timing::kEager}, Conditions{Order::kForward, Timing::kLazy},
    Conditions{Order::kBackward, Timing::kEager}, Conditions{Order::kBackward, Timing::kLazy},
    kShuffled};

inline std::string name_of(const Conditions& of) {
  constexpr const char* kOrders[] = {"Forward", "Backward", "Shuffled"};
  constexpr const char* kTimings[] = {"Eager", "Lazy", "LateProducts"};
  return std::string(kOrders[static_cast<int>(of.order)]) + kTimings[static_cast<int>(of.timing)];
}

class UnderAnyConditions : public ::testing::TestWithParam<Conditions> {
 private:
  UnderConditions here_{GetParam()};
};

// INSTANTIATE_TEST_SUITE_P(Emulated, SomeTest, ::testing::ValuesIn(kAnyConditions),
// kNameOfConditions);
inline constexpr auto kNameOfConditions = [](const auto& test) { return name_of(test.param); };

}  // namespace seesaw::emulator
