#include "case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "error.hpp"
#include "fields.hpp"
#include "lab/elements.hpp"
#include "lab/synthetic.hpp"

namespace seesaw::tools {
namespace {

constexpr const char* kSeeFormat = "See docs/case-format.md, or try `seesaw make-case`.";

template <typename Items>
std::string list_text(const Items& items, std::string (*text_of)(typename Items::value_type)) {
  std::string text = "[";
  for (size_t i = 0; i < items.size(); ++i) {
    text.append(i == 0 ? "" : ", ").append(text_of(items[i]));
  }
  return text + "]";
}

std::string shape_text(const TensorEntry& entry) {
  return list_text(
      entry.shape, +[](int64_t dimension) { return std::to_string(dimension); });
}

std::string shape_text(const std::vector<std::string>& dimensions) {
  return list_text(
      dimensions, +[](std::string dimension) { return dimension; });
}

std::optional<seesaw_dtype> float_dtype(FileDType dtype) {
  switch (dtype) {
    case FileDType::kBF16:
      return SEESAW_BFLOAT16;
    case FileDType::kF16:
      return SEESAW_FLOAT16;
    case FileDType::kF32:
      return SEESAW_FLOAT32;
    default:
      return std::nullopt;
  }
}

bool fits_int32(int64_t value) {
  return value >= std::numeric_limits<int32_t>::min() &&
         value <= std::numeric_limits<int32_t>::max();
}

class Reader {
 public:
  Reader(const SafetensorsHeader& header, const std::byte* data, uint64_t max_copy_bytes,
         const std::string& path)
      : header_(header), data_(data), max_copy_bytes_(max_copy_bytes), path_(path) {}

  Case read() {
    for (const Argument& argument : operation_.arguments) {
      if (argument.is_input && (!argument.is_optional || header_.find(argument.name) != nullptr)) {
        read_tensor(argument);
      }
    }
    read_lengths();
    read_query_begins();
    read_settings();
    check(seesaw_problem_of(operation_.name.c_str(), &case_.args, &case_.problem));
    read_block_table();  // needs the page size
    return std::move(case_);
  }

 private:
  Failure refuse(const std::string& name, const std::string& arrived,
                 const std::string& allowed) const {
    return bad_input({path_ + ": " + name, arrived, allowed, kSeeFormat});
  }

  // The first tensors of the file by name.
  std::string names_in_file() const {
    constexpr size_t kMost = 8;
    std::string names;
    for (const TensorEntry& entry : header_.tensors) {
      if (&entry == header_.tensors.data() + kMost) {
        return names + fmt::format(" and {} more", header_.tensors.size() - kMost);
      }
      names += (names.empty() ? "" : ", ") + printable(entry.name);
    }
    return names.empty() ? "none" : names;
  }

  const TensorEntry& find(const std::string& name) const {
    const TensorEntry* entry = header_.find(name);
    if (entry == nullptr) {
      std::string needed;
      for (const Argument& argument : operation_.arguments) {
        needed += argument.is_input && !argument.is_optional
                      ? (needed.empty() ? "" : ", ") + argument.name
                      : "";
      }
      throw refuse(name, "no such tensor in the file, which has " + names_in_file(),
                   "needed: " + needed);
    }
    if (std::find(entry->shape.begin(), entry->shape.end(), 0) != entry->shape.end()) {
      throw refuse(name, "shape " + shape_text(*entry), "allowed: dimensions of at least 1");
    }
    return *entry;
  }

  bool is_ragged() const { return header_.find("cu_seqlens_q") != nullptr; }

  // The names of the argument's dimensions in this file.
  const std::vector<std::string>& dimensions_of(const Argument& argument) const {
    return argument.other_field == "ragged" && is_ragged() ? argument.other_shape : argument.shape;
  }

  // The tensor's sizes in the order of the argument's dimensions. KV heads may be left out: one.
  std::vector<int64_t> sizes_of(const Argument& argument, const TensorEntry& entry) const {
    const std::vector<std::string>& dimensions = dimensions_of(argument);
    std::vector<int64_t> sizes = entry.shape;
    const auto heads = std::find(dimensions.begin(), dimensions.end(), "h_kv");
    if (heads != dimensions.end() && sizes.size() + 1 == dimensions.size()) {
      sizes.insert(sizes.begin() + (heads - dimensions.begin()), 1);
    }
    if (sizes.size() != dimensions.size()) {
      throw refuse(entry.name, "shape " + shape_text(entry),
                   "allowed: " + shape_text(dimensions) +
                       (heads != dimensions.end() ? ", h_kv may be left out" : "") +
                       (&dimensions == &argument.other_shape ? ", as cu_seqlens_q is there" : ""));
    }
    return sizes;
  }

  void read_tensor(const Argument& argument) {
    const TensorEntry& entry = find(argument.name);
    seesaw_tensor tensor;
    for (const int64_t size : sizes_of(argument, entry)) {
      const std::string& name = dimensions_of(argument)[static_cast<size_t>(tensor.rank)];
      const auto [known, is_new] = sizes_.try_emplace(name, size, argument.name);
      if (!is_new && known->second.first != size) {
        throw refuse(argument.name, name + " = " + std::to_string(size),
                     known->second.second + " has " + std::to_string(known->second.first));
      }
      tensor.shape[tensor.rank++] = size;
    }
    int64_t stride = 1;
    for (int32_t i = tensor.rank; i-- > 0;) {
      tensor.stride[i] = stride;
      stride *= tensor.shape[i];
    }
    const bool is_integer = argument.dtype == "int32";
    const bool is_bytes = (argument.dtype == "kv_format" || argument.dtype == "uint8") &&
                          entry.dtype == FileDType::kU8;
    if (is_integer ? entry.dtype != FileDType::kI32 && entry.dtype != FileDType::kI64
                   : !is_bytes && !float_dtype(entry.dtype)) {
      throw refuse(entry.name, std::string("dtype ") + name_of(entry.dtype),
                   is_integer                      ? "allowed: I32, I64"
                   : argument.dtype == "uint8"     ? "allowed: U8"
                   : argument.dtype == "kv_format" ? "allowed: BF16, F16, F32, U8"
                                                   : "allowed: BF16, F16, F32");
    }
    tensor.dtype = is_integer ? SEESAW_INT32 : is_bytes ? SEESAW_UINT8 : *float_dtype(entry.dtype);
    tensor.data = is_integer ? nullptr : const_cast<void*>(address_of(entry));
    std::memcpy(reinterpret_cast<char*>(&case_.args) + argument.offset, &tensor, sizeof(tensor));
  }

  const void* address_of(const TensorEntry& entry) {
    const std::byte* at = data_ + entry.begin;
    if (reinterpret_cast<uintptr_t>(at) % static_cast<uintptr_t>(size_of(entry.dtype)) == 0) {
      return at;
    }
    if (entry.end - entry.begin > max_copy_bytes_) {
      throw refuse(entry.name,
                   "its " + std::to_string(entry.end - entry.begin) +
                       " bytes lie at an address that is no multiple of its element, and a copy "
                       "does not fit the memory that is free",
                   "allowed: aligned tensors of any size (pad the file's header with spaces)");
    }
    return case_.copies.emplace_back(at, data_ + entry.end).data();
  }

  // Element `i` of a tensor of integers.
  int64_t integer(const TensorEntry& entry, size_t i) const {
    const std::byte* begin = data_ + entry.begin;
    int64_t value = 0;
    if (entry.dtype == FileDType::kI64) {
      std::memcpy(&value, begin + i * sizeof(value), sizeof(value));
      return value;
    }
    int32_t narrow = 0;
    std::memcpy(&narrow, begin + i * sizeof(narrow), sizeof(narrow));
    return narrow;
  }

  void read_lengths() {
    const TensorEntry& entry = find("seq_lens");
    for (size_t i = 0; i < static_cast<size_t>(entry.shape[0]); ++i) {
      const int64_t length = integer(entry, i);
      if (!fits_int32(length)) {
        throw refuse("seq_lens", "element " + std::to_string(i) + " = " + std::to_string(length),
                     "allowed: 0 to 2^31 - 1");
      }
      case_.seq_lens.push_back(static_cast<int32_t>(length));
    }
    case_.args.seq_lens.data = case_.seq_lens.data();
  }

  // Where each sequence's query tokens begin, and where the last one's end: all that q has. The
  // longest is the problem's s_q.
  void read_query_begins() {
    if (!is_ragged()) {
      return;
    }
    const TensorEntry& entry = find("cu_seqlens_q");
    const size_t sequences = case_.seq_lens.size();
    if (static_cast<size_t>(entry.shape[0]) != sequences + 1) {
      throw refuse("cu_seqlens_q", "shape " + shape_text(entry),
                   "allowed: [" + std::to_string(sequences + 1) + "], one more than seq_lens");
    }
    const int64_t total = case_.args.q.shape[0];
    int64_t longest = 1;
    for (size_t i = 0; i <= sequences; ++i) {
      const int64_t begin = integer(entry, i);
      const int64_t before = i == 0 ? 0 : case_.cu_seqlens_q.back();
      const int64_t least = i == sequences ? total : before;
      const int64_t most = i == 0 ? 0 : total;
      if (begin < least || begin > most || !fits_int32(begin)) {
        throw refuse("cu_seqlens_q", "element " + std::to_string(i) + " = " + std::to_string(begin),
                     "allowed: " + std::to_string(least) + " to " + std::to_string(most) +
                         ", as q has " + std::to_string(total) + " query tokens");
      }
      case_.cu_seqlens_q.push_back(static_cast<int32_t>(begin));
      longest = std::max(longest, begin - before);
    }
    case_.args.cu_seqlens_q.data = case_.cu_seqlens_q.data();
    case_.problem.s_q = longest;
  }

  void read_block_table() {
    const TensorEntry& entry = find("block_table");
    const auto columns = static_cast<size_t>(entry.shape[1]);
    for (size_t i = 0; i < static_cast<size_t>(entry.shape[0]) * columns; ++i) {
      int64_t page = integer(entry, i);
      if (!fits_int32(page)) {
        const auto first_token = static_cast<int64_t>(i % columns) * case_.problem.page_size;
        if (first_token < case_.seq_lens[i / columns]) {
          throw refuse("block_table",
                       "entry [" + std::to_string(i / columns) + ", " +
                           std::to_string(i % columns) + "] = " + std::to_string(page),
                       "allowed: 0 to " + std::to_string(case_.args.kv_cache.shape[0] - 1));
        }
        page = -1;  // an unused entry may hold anything; what does not fit stays unusable
      }
      case_.block_table.push_back(static_cast<int32_t>(page));
    }
    case_.args.block_table.data = case_.block_table.data();
  }

  // Sets the field from the metadata, if it is there.
  bool read_setting(const Field& field, void* to) const {
    const auto text = header_.metadata.find(field.name);
    if (text == header_.metadata.end()) {
      return false;
    }
    parse_field(field, text->second, to, path_ + ": __metadata__");
    return true;
  }

  void read_settings() {
    for (const Field& field : operation_.problem) {
      // Bytes do not tell their format.
      const bool format_of_bytes =
          field.name == "kv_format" && case_.args.kv_cache.dtype == SEESAW_UINT8;
      if (format_of_bytes || !operation_.told_by_inputs(field)) {
        const bool found = read_setting(field, &case_.problem);
        if (format_of_bytes && !found) {
          throw refuse("kv_cache", "dtype U8 without kv_format in __metadata__",
                       "needed: the name of its format, as `seesaw cache` lists them");
        }
      }
    }
    const int64_t d_qk = case_.args.q.shape[case_.args.q.rank - 1];
    const seesaw_tensor& cache = case_.args.kv_cache;
    if (cache.dtype != SEESAW_UINT8 && cache.shape[3] != d_qk) {
      throw refuse("kv_cache", "d_qk = " + std::to_string(cache.shape[3]),
                   "q has " + std::to_string(d_qk));
    }
    if (case_.problem.d_v > d_qk) {
      throw refuse("__metadata__", "d_v = " + std::to_string(case_.problem.d_v),
                   "allowed: 1 to d_qk = " + std::to_string(d_qk));
    }
    case_.args.scale = lab::default_scale(d_qk);
    for (const Field& field : operation_.scalars) {
      read_setting(field, &case_.args);
    }
  }

  const SafetensorsHeader& header_;
  const std::byte* data_;
  uint64_t max_copy_bytes_;
  const std::string& path_;
  const Operation& operation_ = dense_decode();
  // By the name of the dimension: its size, and the tensor that told it.
  std::map<std::string, std::pair<int64_t, std::string>> sizes_;
  Case case_;
};

}  // namespace

std::vector<int32_t> Case::query_lens() const {
  std::vector<int32_t> lens;
  for (size_t i = 1; i < cu_seqlens_q.size(); ++i) {
    lens.push_back(cu_seqlens_q[i] - cu_seqlens_q[i - 1]);
  }
  return lens;
}

Case read_case(const SafetensorsHeader& header, const std::byte* data, uint64_t max_copy_bytes,
               const std::string& path) {
  return Reader(header, data, max_copy_bytes, path).read();
}

std::map<std::string, std::string> settings_of(const seesaw_dense_decode_problem& problem,
                                               const seesaw_dense_decode_args& args) {
  std::map<std::string, std::string> settings;
  for (const Field& field : dense_decode().problem) {
    if (!dense_decode().told_by_inputs(field)) {
      const std::string text = field_text(field, &problem);
      settings[field.name] = !field.is_yes_or_no() ? text : text == "yes" ? "true" : "false";
    }
  }
  for (const Field& field : dense_decode().scalars) {
    const std::string text = field_text(field, &args);
    if (field.name == "scale" || text != "0") {
      settings[field.name] = text;
    }
  }
  return settings;
}

}  // namespace seesaw::tools
