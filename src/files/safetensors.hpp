// Reading the safetensors format: 8 bytes with the length N of the header (little endian), N bytes
// of JSON, then the tensors' bytes without gaps. Nothing in a file is trusted: every length, offset
// and product is checked before use, nesting is bounded, and a refusal is a Failure that names the
// file. Format: https://github.com/huggingface/safetensors ("Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "files/mapped_file.hpp"

namespace seesaw::files {

// The element types of the format that have a whole number of bytes.
enum class FileDType {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64
};

int64_t size_of(FileDType dtype);      // bytes of an element
const char* name_of(FileDType dtype);  // as the format spells it: "BF16"

struct TensorEntry {
  std::string name;
  FileDType dtype = FileDType::kU8;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes [begin, end) after the header
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // offset in the file of the first tensor's byte

  const TensorEntry* find(const std::string& name) const;
};

// The format's own limit on a header.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;

// Parses and checks the header of `file`, all of whose bytes are given. `path` is for messages.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& path);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path)
      : path_(path), file_(path), header_(parse_safetensors(file_.bytes(), path)) {}

  const std::string& path() const { return path_; }
  const SafetensorsHeader& header() const { return header_; }
  // What the entries' offsets count from.
  const std::byte* tensor_bytes() const { return file_.bytes().data() + header_.data_begin; }

 private:
  std::string path_;
  MappedFile file_;
  SafetensorsHeader header_;
};

}  // namespace seesaw::files
