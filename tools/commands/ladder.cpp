// seesaw ladder: the learning path's own program, which holds all rungs, found beside this one.
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "sibling.hpp"

namespace seesaw::tools {

void register_ladder(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("ladder", "From a naive kernel to the shipped one: check and time them");
  command->set_help_flag();  // the program has its own --help
  command->prefix_command();
  command->callback([command] {
    become(find_sibling("seesaw_ladder", "ladder", "seesaw ladder", "SEESAW_BUILD_LADDER"),
           command->remaining());
  });
}

}  // namespace seesaw::tools
