// Safetensors files by hand, right and wrong.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "error.hpp"
#include "io/safetensors.hpp"

namespace seesaw::tools::test {

inline std::vector<std::byte> raw_file(const std::string& header, const std::string& data = "",
                                       uint64_t header_length = UINT64_MAX) {
  const uint64_t length = header_length == UINT64_MAX ? header.size() : header_length;
  std::vector<std::byte> file(sizeof(length) + header.size() + data.size());
  std::memcpy(file.data(), &length, sizeof(length));
  std::memcpy(file.data() + sizeof(length), header.data(), header.size());
  std::memcpy(file.data() + sizeof(length) + header.size(), data.data(), data.size());
  return file;
}

inline std::string tensor(const std::string& name, const std::string& dtype,
                          const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

// The refusal of `action`: four parts, exit code 2, and `part` somewhere in it.
template <typename Action>
void expect_refusal(Action action, const std::string& part) {
  try {
    action();
    FAIL() << "accepted, expected a refusal with: " << part;
  } catch (const Failure& failure) {
    const std::string message = failure.what();
    EXPECT_EQ(failure.code(), ExitCode::kBadInput) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.rfind("file", 0), 0U) << message;           // where
    EXPECT_NE(message.find(": "), std::string::npos) << message;  // what arrived
    EXPECT_NE(message.find(", "), std::string::npos) << message;  // what is allowed
    EXPECT_NE(message.find(". "), std::string::npos) << message;  // what to do
  }
}

}  // namespace seesaw::tools::test
