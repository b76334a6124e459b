// seesaw compare in a build without the baselines: says why not.
#include <CLI/CLI.hpp>

#include "commands/commands.hpp"
#include "error.hpp"

namespace seesaw::tools {

void register_compare(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("compare", "Attention layers side by side (not in this build)");
  command->prefix_command();
  command->callback([] {
    throw bad_input({"compare", "this build has no libseesaw_baselines",
                     "needed: one with SEESAW_BUILD_BASELINES=ON",
                     "Configure with it and build again."});
  });
}

}  // namespace seesaw::tools
