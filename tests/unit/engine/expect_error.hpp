// What a refusal has to look like: the right kind, and a message in four parts.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <string>

#include "seesaw/seesaw.hpp"

namespace seesaw::testing {

// "where: what arrived, allowed: what is. What to do."
inline ::testing::AssertionResult has_four_parts(const std::string& message) {
  const size_t arrived = message.find(": ");
  const size_t allowed = message.find(", allowed: ");
  const size_t remedy = message.find(". ", allowed == std::string::npos ? 0 : allowed);
  const bool in_order = arrived != std::string::npos && allowed != std::string::npos &&
                        remedy != std::string::npos && arrived < allowed;
  const std::string where = message.substr(0, in_order ? arrived : 0);
  const bool well_formed =
      in_order && where.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == where.npos &&
      !where.empty() && std::isupper(static_cast<unsigned char>(message[remedy + 2])) != 0 &&
      message.back() == '.';
  return well_formed ? ::testing::AssertionSuccess()
                     : ::testing::AssertionFailure() << "not in four parts: " << message;
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
