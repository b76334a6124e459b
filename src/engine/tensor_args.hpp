// The tensors in an operation's arguments struct, by its table.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/status.hpp"
#include "core/operation.hpp"
#include "core/tensor.hpp"

namespace seesaw::engine {

// The names in a shape: "[b, s_q]" gives b, s_q.
std::vector<std::string_view> names_in(std::string_view shape);

// The field of this name, or null.
const Field* find_field(std::span<const Field> fields, std::string_view name);

// The shape that an argument has in a problem: one of the pointers in its table.
const char* shape_of(const Arg& arg, const Operation& operation, const void* problem);

// The tensor of an argument; of a list argument, its first tensor, or null.
const Tensor& tensor_at(const Arg& arg, const void* args);
const Tensor* list_at(const Arg& arg, const void* args);

// The number of a call by whose being given a field's `from` is told, "soft_cap.given"; or null. It
// is given if it is not 0.
const Field* number_given(std::string_view from, std::span<const Field> scalars);
bool is_given(const Field& number, const void* args);

// A rank that the struct has room for, and no reserved word set.
Status check_rank(const char* where, const Arg& arg, const Tensor& tensor);

}  // namespace seesaw::engine
