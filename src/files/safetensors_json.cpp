#include "files/safetensors_json.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_set>
#include <utility>

#include "files/failure.hpp"

namespace seesaw::files {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<const char*, FileDType>, 15> kDTypes = {{
    {"BOOL", FileDType::kBool},
    {"U8", FileDType::kU8},
    {"I8", FileDType::kI8},
    {"F8_E4M3", FileDType::kF8E4M3},
    {"F8_E5M2", FileDType::kF8E5M2},
    {"I16", FileDType::kI16},
    {"U16", FileDType::kU16},
    {"F16", FileDType::kF16},
    {"BF16", FileDType::kBF16},
    {"I32", FileDType::kI32},
    {"U32", FileDType::kU32},
    {"F32", FileDType::kF32},
    {"I64", FileDType::kI64},
    {"U64", FileDType::kU64},
    {"F64", FileDType::kF64},
}};

// Real tensors have a handful of dimensions; this only keeps a hostile list short.
constexpr size_t kMaxFileRank = 32;

class HeaderEvents : public nlohmann::json_sax<Json> {
 public:
  HeaderEvents(const std::string& path, SafetensorsHeader* header) : path_(path), header_(header) {}

  bool start_object(std::size_t) override {
    if (where_ == Where::kOutside) {
      where_ = Where::kRoot;
    } else if (where_ == Where::kRoot) {
      where_ = name_ == "__metadata__" ? Where::kMetadata : Where::kTensor;
      fields_.clear();
      entry_ = TensorEntry{};
      entry_.name = name_;
    } else {
      refuse("an object nested too deep");
    }
    return true;
  }

  bool key(string_t& text) override {
    if (where_ == Where::kRoot) {
      name_ = text;
      if (!names_.insert(text).second) {
        refuse("the name \"" + printable(text) + "\" twice");
      }
    } else {
      field_ = text;
      if (!fields_.insert(text).second) {
        refuse("the key \"" + printable(text) + "\" twice in \"" + printable(name_) + "\"");
      }
      if (where_ == Where::kTensor && text != "dtype" && text != "shape" &&
          text != "data_offsets") {
        refuse("the key \"" + printable(text) + "\" in \"" + printable(name_) + "\"");
      }
    }
    return true;
  }

  bool string(string_t& text) override {
    if (where_ == Where::kMetadata) {
      header_->metadata[field_] = text;
      return true;
    }
    if (where_ != Where::kTensor || field_ != "dtype") {
      refuse("a string");
    }
    for (const auto& [name, dtype] : kDTypes) {
      if (text == name) {
        entry_.dtype = dtype;
        return true;
      }
    }
    throw bad_input({path_ + ": " + printable(name_), "dtype = \"" + printable(text) + "\"",
                     "known: BOOL, integers of 8 to 64 bits, F8_E4M3, F8_E5M2, F16, BF16, F32, F64",
                     "Convert the tensor before saving it."});
  }

  bool start_array(std::size_t) override {
    if (where_ != Where::kTensor || field_ == "dtype") {
      refuse("an array");
    }
    where_ = field_ == "shape" ? Where::kShape : Where::kOffsets;
    offsets_read_ = 0;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ == Where::kShape) {
      if (value > uint64_t{std::numeric_limits<int64_t>::max()} ||
          entry_.shape.size() == kMaxFileRank) {
        throw bad_input(
            {path_ + ": " + printable(name_),
             "dimension " + std::to_string(entry_.shape.size()) + " = " + std::to_string(value),
             "allowed: 32 dimensions below 2^63", kDamaged});
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
    } else if (where_ == Where::kOffsets && offsets_read_ < 2) {
      (offsets_read_++ == 0 ? entry_.begin : entry_.end) = value;
    } else {
      refuse("the number " + std::to_string(value));
    }
    return true;
  }

  bool end_array() override {
    if (where_ == Where::kOffsets && offsets_read_ != 2) {
      refuse("data_offsets of " + std::to_string(offsets_read_) + " numbers");
    }
    where_ = Where::kTensor;
    return true;
  }

  bool end_object() override {
    if (where_ == Where::kTensor) {
      if (fields_.size() != 3) {
        refuse("\"" + printable(name_) + "\" without dtype, shape or data_offsets");
      }
      header_->tensors.push_back(std::move(entry_));
    }
    where_ = where_ == Where::kRoot ? Where::kOutside : Where::kRoot;
    return true;
  }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return refuse("the negative number " + std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return refuse("the number " + printable(text) + ", which is no 64-bit integer");
  }
  bool binary(binary_t&) override { return refuse("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return refuse("no valid JSON at byte " + std::to_string(position));
  }

 private:
  enum class Where { kOutside, kRoot, kMetadata, kTensor, kShape, kOffsets };
  static constexpr const char* kDamaged =
      "The file is damaged or not in the safetensors format; write it again.";

  // Throws; the type lets a handler return it.
  [[noreturn]] bool refuse(const std::string& what) const {
    throw bad_input({path_, "the header holds " + what,
                     "allowed: {name: {dtype, shape, data_offsets: [begin, end]}} and "
                     "__metadata__: {key: text}",
                     kDamaged});
  }

  const std::string& path_;
  SafetensorsHeader* header_;
  Where where_ = Where::kOutside;
  std::string name_;   // of the tensor
  std::string field_;  // of the tensor or of the metadata
  std::unordered_set<std::string> names_;
  std::set<std::string> fields_;
  TensorEntry entry_;
  int offsets_read_ = 0;
};

}  // namespace

const char* name_of(FileDType dtype) {
  for (const auto& [name, candidate] : kDTypes) {
    if (candidate == dtype) {
      return name;
    }
  }
  return "unknown";
}

void parse_header_json(std::string_view text, const std::string& path, SafetensorsHeader* header) {
  HeaderEvents events(path, header);
  Json::sax_parse(text.begin(), text.end(), &events);
}

}  // namespace seesaw::files
