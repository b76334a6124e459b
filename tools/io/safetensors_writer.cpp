#include "io/safetensors_writer.hpp"

#include <nlohmann/json.hpp>

#include "error.hpp"

namespace seesaw::tools {
namespace {

constexpr size_t kDataAlignment = 64;

uint64_t declared_bytes(const TensorDeclaration& tensor, const std::string& path) {
  int64_t product = size_of(tensor.dtype);
  for (const int64_t dimension : tensor.shape) {
    if (dimension < 0 || __builtin_mul_overflow(product, dimension, &product)) {
      throw bad_input({path + ": " + tensor.name, "its size overflows 2^63 bytes",
                       "more than any disk holds", "Choose smaller dimensions."});
    }
  }
  return static_cast<uint64_t>(product);
}

}  // namespace

void SafetensorsWriter::declare(const std::vector<TensorDeclaration>& tensors,
                                const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  uint64_t begin = 0;
  for (const TensorDeclaration& tensor : tensors) {
    uint64_t end = 0;
    if (__builtin_add_overflow(begin, declared_bytes(tensor, path_), &end)) {
      throw bad_input({path_, "the tensors overflow 2^64 bytes", "more than any disk holds",
                       "Choose smaller dimensions."});
    }
    header[tensor.name] = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  missing_bytes_ = begin;
  std::string text = header.dump();
  const size_t unpadded = sizeof(uint64_t) + text.size();
  text.append((kDataAlignment - unpadded % kDataAlignment) % kDataAlignment, ' ');
  const uint64_t header_bytes = text.size();
  file_.write(&header_bytes, sizeof(header_bytes));
  file_.write(text.data(), text.size());
}

void SafetensorsWriter::write(const void* data, size_t size_bytes) {
  if (size_bytes > missing_bytes_) {
    throw Failure(ExitCode::kInternal, path_ + ": more bytes than declared");
  }
  missing_bytes_ -= size_bytes;
  file_.write(data, size_bytes);
}

void SafetensorsWriter::commit() {
  if (missing_bytes_ != 0) {
    throw Failure(ExitCode::kInternal,
                  path_ + ": " + std::to_string(missing_bytes_) + " declared bytes are missing");
  }
  file_.commit();
}

}  // namespace seesaw::tools
