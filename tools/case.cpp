#include "case.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "error.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kSeeFormat = "See docs/case-format.md, or try `seesaw make-case`.";

std::string shape_text(const TensorEntry& entry) {
  std::string text = "[";
  for (size_t i = 0; i < entry.shape.size(); ++i) {
    text.append(i == 0 ? "" : ", ").append(std::to_string(entry.shape[i]));
  }
  return text + "]";
}

struct Reader {
  const SafetensorsHeader& header;
  const std::byte* data;
  uint64_t max_copy_bytes;
  const std::string& path;

  Failure refuse(const std::string& name, const std::string& arrived,
                 const std::string& allowed) const {
    return bad_input({path + ": " + name, arrived, allowed, kSeeFormat});
  }

  const TensorEntry& find(const std::string& name) const {
    const TensorEntry* entry = header.find(name);
    if (entry == nullptr) {
      throw refuse(name, "no such tensor in the file",
                   "needed: q, kv_cache, block_table, seq_lens");
    }
    for (const int64_t dimension : entry->shape) {
      if (dimension == 0) {
        throw refuse(name, "shape " + shape_text(*entry), "allowed: dimensions of at least 1");
      }
    }
    return *entry;
  }

  const TensorEntry& find(const std::string& name, std::initializer_list<size_t> ranks,
                          const std::string& meaning) const {
    const TensorEntry& entry = find(name);
    for (const size_t rank : ranks) {
      if (entry.shape.size() == rank) {
        return entry;
      }
    }
    throw refuse(name, "shape " + shape_text(entry), "allowed: " + meaning);
  }

  seesaw_dtype float_dtype(const TensorEntry& entry) const {
    switch (entry.dtype) {
      case FileDType::kBF16:
        return SEESAW_BFLOAT16;
      case FileDType::kF16:
        return SEESAW_FLOAT16;
      case FileDType::kF32:
        return SEESAW_FLOAT32;
      default:
        throw refuse(entry.name, std::string("dtype ") + tools::name_of(entry.dtype),
                     "allowed: BF16, F16, F32");
    }
  }

  CaseTensor tensor(const TensorEntry& entry) const {
    CaseTensor result;
    result.data = data + entry.begin;
    result.size_bytes = entry.end - entry.begin;
    const auto alignment = static_cast<uintptr_t>(size_of(entry.dtype));
    if (reinterpret_cast<uintptr_t>(result.data) % alignment != 0) {
      if (result.size_bytes > max_copy_bytes) {
        throw refuse(entry.name,
                     "its " + std::to_string(result.size_bytes) +
                         " bytes lie at an address that is no multiple of its element, and a copy "
                         "does not fit the memory that is free",
                     "allowed: aligned tensors of any size (pad the file's header with spaces)");
      }
      result.copy.assign(data + entry.begin, data + entry.end);
      result.data = result.copy.data();
    }
    return result;
  }

  int64_t integer(const TensorEntry& entry, size_t i) const {
    if (entry.dtype == FileDType::kI32) {
      int32_t value = 0;
      std::memcpy(&value, data + entry.begin + i * sizeof(value), sizeof(value));
      return value;
    }
    int64_t value = 0;
    std::memcpy(&value, data + entry.begin + i * sizeof(value), sizeof(value));
    return value;
  }

  void check_integer_dtype(const TensorEntry& entry) const {
    if (entry.dtype != FileDType::kI32 && entry.dtype != FileDType::kI64) {
      throw refuse(entry.name, std::string("dtype ") + tools::name_of(entry.dtype),
                   "allowed: I32, I64");
    }
  }

  const std::string* metadata(const std::string& key) const {
    const auto it = header.metadata.find(key);
    return it == header.metadata.end() ? nullptr : &it->second;
  }
};

bool fits_int32(int64_t value) {
  return value >= std::numeric_limits<int32_t>::min() &&
         value <= std::numeric_limits<int32_t>::max();
}

void read_shapes(const Reader& reader, Case* result) {
  const TensorEntry& q = reader.find("q", {4}, "[batch, s_q, h_q, d_qk]");
  const TensorEntry& kv =
      reader.find("kv_cache", {3, 4}, "[num_pages, page_size, h_kv, d_qk], h_kv may be left out");
  CaseShape& shape = result->shape;
  shape.batch = q.shape[0];
  shape.s_q = q.shape[1];
  shape.h_q = q.shape[2];
  shape.d_qk = q.shape[3];
  shape.num_pages = kv.shape[0];
  shape.page_size = kv.shape[1];
  shape.h_kv = kv.shape.size() == 4 ? kv.shape[2] : 1;
  shape.q_dtype = reader.float_dtype(q);
  shape.kv_dtype = reader.float_dtype(kv);
  if (kv.shape.back() != shape.d_qk) {
    throw reader.refuse("kv_cache", "d_qk = " + std::to_string(kv.shape.back()),
                        "q has " + std::to_string(shape.d_qk));
  }
  result->q = reader.tensor(q);
  result->kv_cache = reader.tensor(kv);
}

void read_lengths(const Reader& reader, Case* result) {
  const TensorEntry& entry = reader.find("seq_lens", {1}, "[batch]");
  reader.check_integer_dtype(entry);
  if (entry.shape[0] != result->shape.batch) {
    throw reader.refuse("seq_lens", "shape " + shape_text(entry),
                        "q has batch = " + std::to_string(result->shape.batch));
  }
  for (size_t i = 0; i < static_cast<size_t>(entry.shape[0]); ++i) {
    const int64_t length = reader.integer(entry, i);
    if (!fits_int32(length)) {
      throw reader.refuse("seq_lens",
                          "element " + std::to_string(i) + " = " + std::to_string(length),
                          "allowed: 0 to 2^31 - 1");
    }
    result->seq_lens.push_back(static_cast<int32_t>(length));
  }
}

void read_block_table(const Reader& reader, Case* result) {
  const TensorEntry& entry = reader.find("block_table", {2}, "[batch, max_pages_per_sequence]");
  reader.check_integer_dtype(entry);
  CaseShape& shape = result->shape;
  if (entry.shape[0] != shape.batch) {
    throw reader.refuse("block_table", "shape " + shape_text(entry),
                        "q has batch = " + std::to_string(shape.batch));
  }
  shape.max_pages_per_sequence = entry.shape[1];
  const auto pages = static_cast<size_t>(entry.shape[1]);
  for (size_t i = 0; i < static_cast<size_t>(shape.batch) * pages; ++i) {
    int64_t page = reader.integer(entry, i);
    const auto first_token = static_cast<int64_t>(i % pages) * shape.page_size;
    if (!fits_int32(page)) {
      if (first_token < result->seq_lens[i / pages]) {
        throw reader.refuse("block_table",
                            "entry [" + std::to_string(i / pages) + ", " +
                                std::to_string(i % pages) + "] = " + std::to_string(page),
                            "allowed: 0 to " + std::to_string(shape.num_pages - 1));
      }
      page = -1;  // an unused entry may hold anything; what does not fit stays unusable
    }
    result->block_table.push_back(static_cast<int32_t>(page));
  }
}

void read_metadata(const Reader& reader, Case* result) {
  char* end = nullptr;
  if (const std::string* text = reader.metadata("scale")) {
    result->scale = std::strtod(text->c_str(), &end);
    if (text->empty() || *end != '\0' || !std::isfinite(*result->scale)) {
      throw reader.refuse("__metadata__", "scale = \"" + printable(*text) + "\"",
                          "allowed: a finite number");
    }
  }
  if (const std::string* text = reader.metadata("causal")) {
    const bool yes = *text == "true" || *text == "True" || *text == "1";
    if (!yes && *text != "false" && *text != "False" && *text != "0") {
      throw reader.refuse("__metadata__", "causal = \"" + printable(*text) + "\"",
                          "allowed: true, false");
    }
    result->causal = yes;
  }
  if (const std::string* text = reader.metadata("d_v")) {
    result->d_v = std::strtoll(text->c_str(), &end, 10);
    if (text->empty() || *end != '\0' || *result->d_v < 1 || *result->d_v > result->shape.d_qk) {
      throw reader.refuse("__metadata__", "d_v = \"" + printable(*text) + "\"",
                          "allowed: 1 to d_qk = " + std::to_string(result->shape.d_qk));
    }
  }
}

}  // namespace

Case read_case(const SafetensorsHeader& header, const std::byte* data, uint64_t max_copy_bytes,
               const std::string& path) {
  const Reader reader{header, data, max_copy_bytes, path};
  Case result;
  read_shapes(reader, &result);
  read_lengths(reader, &result);
  read_block_table(reader, &result);
  read_metadata(reader, &result);
  return result;
}

}  // namespace seesaw::tools
