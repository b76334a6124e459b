// An output file that appears complete or not at all: written under another name in the same
// directory, synchronised, then renamed. Failure, an exception or a signal removes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/interrupt.hpp"

namespace seesaw::tools {

class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);  // throws Failure if it cannot be written there
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size_bytes);
  void commit();  // after this the file is there, under its name and on the disk

 private:
  void flush();
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_;       // with symbolic links resolved
  std::string temporary_;  // in the same directory
  std::unique_ptr<RemoveOnSignal> guard_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
};

// For the start of a command, before anything is run: throws if an output would destroy an input or
// another output, the same file by whatever name, or cannot be written. Empty paths are no files.
void check_outputs(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs);

// `text` as a file, atomically.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace seesaw::tools
