// Output to where an option says.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace seesaw::tools {

// `target`: "-" for standard output, else a file, which appears complete or not at all.
void emit_text(const std::string& text, const std::string& target);
void emit_json(const nlohmann::ordered_json& json, const std::string& target);

}  // namespace seesaw::tools
