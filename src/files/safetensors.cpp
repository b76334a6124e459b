#include "files/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "files/failure.hpp"
#include "files/safetensors_json.hpp"

namespace seesaw::files {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little endian");

constexpr const char* kWriteAgain =
    "The file is truncated, damaged or not in the safetensors format; write it again.";

// Bytes of a tensor by its shape; false if they do not fit 63 bits.
bool shape_bytes(const TensorEntry& entry, uint64_t* size_bytes) {
  int64_t product = size_of(entry.dtype);
  bool empty = false;
  for (const int64_t dimension : entry.shape) {
    empty |= dimension == 0;  // an empty tensor may have other dimensions of any size
    if (!empty && __builtin_mul_overflow(product, dimension, &product)) {
      empty = std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end();
      if (!empty) {
        return false;
      }
    }
  }
  *size_bytes = empty ? 0 : static_cast<uint64_t>(product);
  return true;
}

// What a file that is no safetensors file seems to be, by its first bytes, and what to do with it.
struct OtherFormat {
  std::string_view first_bytes;
  const char* name;
  const char* remedy;
};

constexpr const char* kSaveTensors =
    "Load it and write its tensors with safetensors' save_file (docs/case-format.md).";
constexpr OtherFormat kOtherFormats[] = {
    {"PK\x03\x04", "a zip archive, as PyTorch's .pt and NumPy's .npz files are", kSaveTensors},
    {"\x80\x02", "a Python pickle, as old .pt files are", kSaveTensors},
    {"\x93NUMPY", "NumPy's .npy", kSaveTensors},
    {"\x89HDF", "HDF5", kSaveTensors},
    {"GGUF", "GGUF", kSaveTensors},
    {"version https://git-lfs", "a Git LFS pointer: the file itself is not here",
     "Fetch it: git lfs pull."},
    {"{", "JSON, as the index of a checkpoint in several files is",
     "Name one of the .safetensors files beside it."},
};

const OtherFormat* other_format_of(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  const auto* found = std::find_if(std::begin(kOtherFormats), std::end(kOtherFormats),
                                   [&](const auto& f) { return text.starts_with(f.first_bytes); });
  return found == std::end(kOtherFormats) ? nullptr : found;
}

uint64_t read_header_length(std::span<const std::byte> file, const std::string& path) {
  uint64_t length = 0;
  if (file.size() < sizeof(length)) {
    throw bad_input({path, "the file has " + std::to_string(file.size()) + " bytes",
                     "a safetensors file starts with 8 bytes of header length", kWriteAgain});
  }
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > kMaxHeaderBytes || length > file.size() - sizeof(length) || length < 2) {
    if (const OtherFormat* other = other_format_of(file)) {
      throw bad_input({path, std::string("the file is ") + other->name,
                       "needed: a safetensors file", other->remedy});
    }
    throw bad_input({path, "header length = " + std::to_string(length),
                     "allowed: 2 to " + std::to_string(kMaxHeaderBytes) +
                         " and inside the file's " + std::to_string(file.size()) + " bytes",
                     kWriteAgain});
  }
  return length;
}

// The tensors must tile [0, data_bytes): no overlap, no gap, nothing beyond the file.
void check_layout(const SafetensorsHeader& header, uint64_t data_bytes, const std::string& path) {
  uint64_t expected_begin = 0;
  for (const TensorEntry& entry : header.tensors) {
    const std::string where = path + ": " + printable(entry.name);
    const std::string offsets =
        "data_offsets = [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
    if (entry.end < entry.begin || entry.end > data_bytes) {
      throw bad_input({where, offsets,
                       "the file holds " + std::to_string(data_bytes) + " bytes of tensors",
                       kWriteAgain});
    }
    if (entry.begin != expected_begin) {
      throw bad_input({where, offsets,
                       "it must begin at " + std::to_string(expected_begin) +
                           ", where the one before ends: no gaps, no overlaps",
                       kWriteAgain});
    }
    uint64_t size_bytes = 0;
    if (!shape_bytes(entry, &size_bytes) || size_bytes != entry.end - entry.begin) {
      throw bad_input({where, offsets,
                       std::string("which is not the size of its shape in ") + name_of(entry.dtype),
                       kWriteAgain});
    }
    expected_begin = entry.end;
  }
  if (expected_begin != data_bytes) {
    throw bad_input({path, std::to_string(data_bytes - expected_begin) + " bytes after the tensors",
                     "where the file must end", kWriteAgain});
  }
}

}  // namespace

int64_t size_of(FileDType dtype) {
  if (dtype <= FileDType::kF8E5M2) {
    return 1;
  }
  if (dtype <= FileDType::kBF16) {
    return 2;
  }
  return dtype <= FileDType::kF32 ? 4 : 8;
}

const TensorEntry* SafetensorsHeader::find(const std::string& name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const TensorEntry& entry) { return entry.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& path) {
  const uint64_t header_bytes = read_header_length(file, path);
  SafetensorsHeader header;
  header.data_begin = sizeof(uint64_t) + header_bytes;
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + sizeof(uint64_t),
                              header_bytes);
  if (text.front() != '{') {
    throw bad_input(
        {path, "the header does not start with '{'", "it must be a JSON object", kWriteAgain});
  }
  parse_header_json(text, path, &header);
  // Keys of a JSON object have no order; bytes do. Empty tensors sort before what shares their
  // begin.
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
            });
  check_layout(header, file.size() - header.data_begin, path);
  return header;
}

}  // namespace seesaw::files
