// What was typed and is no command or option: named, with the nearest of those that there are.
#pragma once

#include <string>
#include <vector>

#include "error.hpp"

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace seesaw::tools {

// The name that takes the fewest edits to become `typed`: letters put in, taken out, changed or
// swapped with the next. Empty if more than `most` are needed, or if there are no names.
std::string nearest(const std::string& typed, const std::vector<std::string>& names, size_t most);

// Throws Failure if `typed` is the name of no command; an empty one and options are not looked at.
void require_command(const CLI::App& app, const std::string& typed);

// `text` is no option or argument of `command`, which messages call `where`.
Failure unexpected(const CLI::App& command, const std::string& where, const std::string& text);

// Why the parser refused, in one line.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error);

}  // namespace seesaw::tools
