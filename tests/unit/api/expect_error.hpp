// What a refusal has to look like: the right kind, and a message in four parts.
#pragma once

#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "seesaw/seesaw.hpp"

namespace seesaw::testing {

// "where: what arrived, allowed: what is. What to do."
inline ::testing::AssertionResult has_four_parts(const std::string& message) {
  static const std::regex kParts("[a-z0-9_]+: [^]+, allowed: [^]+\\. [A-Z][^]*\\.");
  if (std::regex_match(message, kParts)) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "not in four parts: " << message;
}

// `words`: part of the message that says what arrived.
inline void expect_refusal(seesaw_status expected, const std::string& words, seesaw_status got) {
  ASSERT_EQ(got, expected) << seesaw_last_error();
  const std::string message = seesaw_last_error();
  EXPECT_TRUE(has_four_parts(message));
  EXPECT_NE(message.find(words), std::string::npos)
      << "message: " << message << "\nshould mention: " << words;
}

}  // namespace seesaw::testing
