// The reader of safetensors files (src/files), with this program's failures.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "error.hpp"
#include "files/safetensors.hpp"

namespace seesaw::tools {

using files::FileDType;
using files::kMaxHeaderBytes;
using files::name_of;
using files::SafetensorsHeader;
using files::size_of;
using files::TensorEntry;

// What `read` gives; its refusal as bad input of the command.
template <typename Read>
auto read_or_fail(Read&& read) {
  try {
    return read();
  } catch (const files::Failure& failure) {
    throw Failure(ExitCode::kBadInput, failure.what());
  }
}

inline SafetensorsHeader parse_safetensors(std::span<const std::byte> file,
                                           const std::string& path) {
  return read_or_fail([&] { return files::parse_safetensors(file, path); });
}

class SafetensorsFile : public files::SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path)
      : files::SafetensorsFile(read_or_fail([&] { return files::SafetensorsFile(path); })) {}
};

}  // namespace seesaw::tools
