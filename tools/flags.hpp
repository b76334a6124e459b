// Flags of the command line made of the library's tables. The parser is CLI11; its header is long,
// so only the files that define options include it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fields.hpp"

namespace CLI {
class App;
}

namespace seesaw::tools {

// A flag for each field that has one and that `wanted` chooses. What `to` holds now is the default.
void add_field_flags(CLI::App& command, const std::vector<Field>& fields, void* to,
                     const std::function<bool(const Field&)>& wanted);

// Of the fields whose flags were given: copies them, or says how, as arguments for this program.
void copy_given(const CLI::App& command, const std::vector<Field>& fields, const void* from,
                void* to);
std::vector<std::string> given_arguments(const CLI::App& command, const std::vector<Field>& fields,
                                         const void* from);

}  // namespace seesaw::tools
