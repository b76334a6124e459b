// Another program, run to its end.
#pragma once

#include <string>
#include <vector>

namespace seesaw::tools {

struct ProgramResult {
  int exit_code = -1;  // 128 + the signal if one ended it
  std::string said;    // standard output and error together
};

// Runs arguments[0], an absolute path. Throws Failure if it cannot be started.
ProgramResult run_program(const std::vector<std::string>& arguments);

// The program's path if it is in a folder of PATH or at `beside`; empty if not.
std::string find_program(const std::string& name, const std::vector<std::string>& beside);

}  // namespace seesaw::tools
