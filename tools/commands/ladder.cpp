// seesaw ladder: the learning path's own program, which holds all rungs, found beside this one.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "commands/commands.hpp"
#include "error.hpp"

namespace seesaw::tools {
namespace {

// In an installed tree both programs are in one folder, in a build tree in neighbours.
std::string find_program() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& candidate :
       {here / "seesaw_ladder", here.parent_path() / "ladder" / "seesaw_ladder"}) {
    if (access(candidate.c_str(), X_OK) == 0) {
      return candidate.string();
    }
  }
  throw bad_input({"seesaw ladder", "no program seesaw_ladder in or beside " + here.string(),
                   "allowed: a build that has the ladder",
                   "Configure with -DSEESAW_BUILD_TESTS=ON and build seesaw_ladder"});
}

// Becomes the other program; returns only if that fails.
void become(const std::string& program, std::vector<std::string> arguments) {
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  throw Failure(ExitCode::kInternal, "seesaw ladder: cannot start " + program +
                                         ", it must be a program. Build it again.");
}

}  // namespace

void register_ladder(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("ladder", "From a naive kernel to the shipped one: check and time them");
  command->set_help_flag();  // the program has its own --help
  command->prefix_command();
  command->callback([command] { become(find_program(), command->remaining()); });
}

}  // namespace seesaw::tools
