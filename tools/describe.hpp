// What the library says of itself (seesaw_describe), for flags, files and reports: no field of an
// operation is listed in this program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace seesaw::tools {

// A field of a plain struct of the C ABI.
struct Field {
  enum class Type { kInt64, kInt32, kFloat32, kChoice, kDType, kText, kDevice };

  std::string name;
  Type type = Type::kInt32;
  size_t offset = 0;
  int64_t least = 0;
  int64_t most = 0;
  int64_t fallback = 0;                                  // what 0 stands for
  std::vector<std::pair<std::string, int32_t>> choices;  // of a dtype, a format or an enumeration
  std::string from;  // where tensors tell it, as core/field.hpp has it
  std::string flag;  // "--heads", or several with commas; "": none
  std::string help;

  bool is_whole() const { return type == Type::kInt64 || type == Type::kInt32; }
  bool has_choices() const { return type == Type::kChoice || type == Type::kDType; }
  bool is_yes_or_no() const;
  // Whether it says that calls may bring an argument.
  bool is_of_argument() const { return from.ends_with(".given"); }
  std::string first_flag() const { return flag.substr(0, flag.find(',')); }
};

// A tensor of an operation's arguments.
struct Argument {
  std::string name;
  size_t offset = 0;
  std::vector<std::string> shape;  // names of its dimensions
  std::string dtype;               // "int32", or the field that has it
  bool is_input = false;
  bool is_optional = false;
  // With a yes in this field it has another shape; "": it has one shape.
  std::string other_field;
  std::vector<std::string> other_shape;
};

// A number that a tuning file may set.
struct KnobRange {
  std::string name;
  int32_t least = 0;
  int32_t most = 0;
  int32_t step = 1;
};

struct Kernel {
  std::string name;
  std::string device;
  std::vector<KnobRange> knobs;
};

struct Operation {
  std::string name;
  std::string help;
  std::vector<Field> problem;
  std::vector<Argument> arguments;
  std::vector<Field> scalars;  // numbers of the arguments
  std::vector<Kernel> kernels;

  const Kernel* kernel(const std::string& wanted) const;  // null: it has none such
  // Whether the inputs tell the field: by their shapes and dtypes, or by being there.
  bool told_by_inputs(const Field& field) const;
};

// A cache format that is no dtype's. `all`: as the library describes it, JSON.
struct FormatFacts {
  std::string name;
  std::string help;
  int32_t id = 0;
  int64_t d_latent = 0;
  int64_t d_rope = 0;
  int64_t token_bytes = 0;
  int64_t tail_bytes = 0;  // of them, behind the page's rows
  bool has_tensor_scale = false;
  std::string all;

  int64_t columns() const { return d_latent + d_rope; }
};

struct Description {
  std::vector<Field> options;
  std::vector<Operation> operations;
  std::vector<FormatFacts> formats;
};

// Asked once; lives as long as the program.
const Description& description();
const Operation& dense_decode();
const Operation& operation(const std::string& name);  // one that there is

}  // namespace seesaw::tools
