// Plans and problems as the commands' JSON and text have them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "seesaw/ops/dense_decode.h"

namespace seesaw::tools {

// A problem's fields that have flags, under the names of bench/results: "b" and "dtype" for batch
// and q_dtype. An enumeration at its default is left out.
nlohmann::ordered_json record_of(const seesaw_dense_decode_problem& problem);

// What the plan's kernel decided, by name.
nlohmann::ordered_json numbers_json(const seesaw_plan_details& plan);
// The same with the kernel, its tuning and memory.
nlohmann::ordered_json details_json(const seesaw_plan_details& plan);
std::string numbers_text(const seesaw_plan_details& plan);   // "num_workers 2, ..."
std::string numbers_table(const seesaw_plan_details& plan);  // a line each, with what it means

}  // namespace seesaw::tools
