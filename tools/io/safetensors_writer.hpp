// Writing the safetensors format as a stream: tensors are declared first, then their bytes follow
// in the same order, so a file may be larger than memory. It appears complete or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/safetensors.hpp"

namespace seesaw::tools {

struct TensorDeclaration {
  std::string name;
  FileDType dtype = FileDType::kU8;
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  // Creates the temporary file at once, so that an impossible output is known before the work.
  explicit SafetensorsWriter(const std::string& path) : path_(path), file_(path) {}

  // Writes the header. Its end is padded so that the first tensor is aligned to 64 bytes.
  void declare(const std::vector<TensorDeclaration>& tensors,
               const std::map<std::string, std::string>& metadata);
  void write(const void* data, size_t size_bytes);  // the next bytes of the data
  void commit();                                    // throws unless every byte was written

 private:
  std::string path_;
  AtomicFile file_;
  uint64_t missing_bytes_ = 0;
};

}  // namespace seesaw::tools
