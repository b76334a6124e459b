// What libseesaw says of its operations (seesaw_describe), in the form that reading a call's
// arguments takes: this module knows no operation, no field and no tensor by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "arguments.hpp"

namespace seesaw::python {

enum class Kind : uint8_t { kInt64, kInt32, kFloat32, kText, kDevice };

// A field of a problem, of the options or of an arguments struct's numbers.
struct Field {
  std::string name;
  Kind kind = Kind::kInt32;
  size_t offset = 0;
  bool is_maximum = false;  // of a dimension of the arguments, which may be less
};

struct Arg {
  std::string name;
  std::string shape;  // for messages
  size_t offset = 0;
  int32_t rank = 0;
  int32_t other_rank = 0;  // in problems where the shape is another; else as rank
  int32_t heads = -1;      // the dimension h_kv, which an array may lack
  int32_t no_heads = -1;   // where an array may have one head, though the shape has none
  Elements elements = Elements::kFloat;
  const Field* format = nullptr;  // of the cache that it holds
  const Field* count = nullptr;   // how many tensors the list has; null: it is no list
  bool prepares = false;          // read by seesaw_plan_prepare
  bool optional = false;
  bool written = false;
};

struct Operation {
  std::string name;
  size_t problem_bytes = 0;
  size_t args_bytes = 0;
  std::vector<Field> problem;
  std::vector<Arg> args;
  std::vector<Field> scalars;
  std::vector<std::string> kernels;
};

struct Tables {
  std::vector<Operation> operations;
  std::vector<Field> options;
};

// Read once.
const Tables& tables();

}  // namespace seesaw::python
