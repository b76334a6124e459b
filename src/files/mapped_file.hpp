// A whole file, read-only in memory. Pages are read when touched, so the file may be larger than
// the machine's memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace seesaw::files {

class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);  // throws Failure
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace seesaw::files
