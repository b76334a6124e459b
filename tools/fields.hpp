// Structs of the C ABI, field by field: set from text, shown as text and as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "describe.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::tools {

int64_t get_number(const Field& field, const void* from);  // not of text, float or device
void set_number(const Field& field, int64_t value, void* to);

// Sets the field from what a person typed; throws Failure, which begins with `where`, for a value
// that it cannot have.
void parse_field(const Field& field, const std::string& text, void* to, const std::string& where);

std::string allowed_text(const Field& field);  // "1 to 64", "e, 2"

// A copy of the text that lives as long as the program, for structs that hold pointers.
const char* keep(const std::string& text);

std::string value_text(const Field& field, int64_t value);  // of a number or a choice
std::string field_text(const Field& field, const void* from);
nlohmann::ordered_json field_json(const Field& field, const void* from);

// {"batch": 8, ...}: all of them, by name.
nlohmann::ordered_json fields_json(const std::vector<Field>& fields, const void* from);
// "batch 8, ...": without numbers that are 0.
std::string fields_text(const std::vector<Field>& fields, const void* from);

// Fields that are 0 get their defaults.
void set_defaults(const std::vector<Field>& fields, void* to);

// "cpu", "cuda" or "cuda:N"; throws Failure.
seesaw_device parse_device(const std::string& text);

}  // namespace seesaw::tools
