#include "sibling.hpp"

#include <unistd.h>

#include <filesystem>

#include "error.hpp"

namespace seesaw::tools {

std::string find_sibling(const std::string& program, const std::string& folder,
                         const std::string& where, const std::string& option) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& candidate : {here / program, here.parent_path() / folder / program}) {
    if (access(candidate.c_str(), X_OK) == 0) {
      return candidate.string();
    }
  }
  throw bad_input({where, "no program " + program + " in or beside " + here.string(),
                   "needed: a build that has it",
                   "Configure with -D" + option + "=ON and build " + program + "."});
}

void become(const std::string& program, std::vector<std::string> arguments) {
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  throw Failure(ExitCode::kInternal,
                "seesaw: cannot start " + program + ", it must be a program. Build it again.");
}

}  // namespace seesaw::tools
