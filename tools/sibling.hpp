// Programs that come with this one.
#pragma once

#include <string>
#include <vector>

namespace seesaw::tools {

// The program's path: beside this one in an installed tree, in a neighbouring folder of a build
// tree. Throws Failure; `where` is the command for the message, `option` what builds the program.
std::string find_sibling(const std::string& program, const std::string& folder,
                         const std::string& where, const std::string& option);

// Becomes the other program; returns only by throwing.
[[noreturn]] void become(const std::string& program, std::vector<std::string> arguments);

}  // namespace seesaw::tools
