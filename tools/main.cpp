// seesaw: the command line. Parses, runs one command, and turns whatever ends it into a message on
// stderr and an exit code.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/interrupt.hpp"
#include "output.hpp"
#include "seesaw/seesaw.hpp"

namespace {

using seesaw::tools::ExitCode;

constexpr const char* kFooter =
    "Exit codes: 0 done; 1 check found errors out of bound; 2 bad input or usage, or nothing here "
    "can do it;\n3 the device or this program failed; 130 interrupted (nothing half-written is "
    "left).\n\n"
    "Examples:\n"
    "  seesaw info\n"
    "  seesaw make-case -o case.safetensors --batch 4 --heads 128 --len 4096\n"
    "  seesaw run case.safetensors -o out.safetensors\n"
    "  seesaw check --quick\n"
    "`seesaw COMMAND --help` explains a command, with examples.";

int report(const std::string& message, ExitCode code) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return static_cast<int>(code);
}

ExitCode code_of(seesaw_status status) {
  const bool callers = status == SEESAW_INVALID_ARGUMENT || status == SEESAW_INVALID_TYPE ||
                       status == SEESAW_NOT_SUPPORTED;
  return callers ? ExitCode::kBadInput : ExitCode::kInternal;
}

// Edits that make `b` of `a`: letters put in, taken out, changed or swapped with the next.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      const size_t change = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

// The command that was typed, if it is none, and the nearest of those that there are.
void require_command(const CLI::App& app, int argc, char** argv) {
  const std::string typed = argc > 1 ? argv[1] : "";
  if (typed.empty() || typed[0] == '-') {
    return;
  }
  std::string names;
  std::string nearest;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    const std::string& name = command->get_name();
    if (name == typed) {
      return;
    }
    names += (names.empty() ? "" : ", ") + name;
    if (nearest.empty() || distance(typed, name) < distance(typed, nearest)) {
      nearest = name;
    }
  }
  throw seesaw::tools::bad_input({"seesaw", "command " + seesaw::tools::printable(typed),
                                  "allowed: " + names,
                                  "Did you mean " + nearest + "? Run `seesaw --help`."});
}

int parse_and_run(CLI::App& app, int argc, char** argv) {
  try {
    require_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      return app.exit(error);
    }
    const auto commands = app.get_subcommands();
    const std::string where = commands.empty() ? "seesaw" : "seesaw " + commands[0]->get_name();
    return report(where + ": " + error.what() + ", allowed: the options of --help. Run `" + where +
                      " --help`.",
                  ExitCode::kBadInput);
  } catch (const seesaw::tools::Failure& failure) {
    return report(failure.what(), failure.code());
  } catch (const seesaw::Error& error) {
    return report(error.what(), code_of(error.status()));
  } catch (const std::bad_alloc&) {
    return report(
        "seesaw: out of memory, allowed: what this machine has free. Use a smaller batch or "
        "shorter sequences.",
        ExitCode::kInternal);
  } catch (const std::exception& error) {
    return report(std::string("seesaw: ") + error.what(), ExitCode::kInternal);
  }
  return static_cast<int>(ExitCode::kOk);
}

// A full disk may show only now.
int flush_output(int code) {
  const int error = seesaw::tools::flush_standard_output();
  if (error != 0 && code == 0) {
    return report(std::string("standard output: ") + std::strerror(error) +
                      ", it must take what is printed. Free some space or redirect it elsewhere.",
                  ExitCode::kBadInput);
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  seesaw::tools::install_signal_handlers();
  CLI::App app(
      "seesaw " + std::string(seesaw_version()) + ": Multi-head Latent Attention on CPUs and GPUs",
      "seesaw");
  app.set_version_flag("--version", std::string("seesaw ") + seesaw_version());
  app.footer(kFooter);
  app.require_subcommand(1);
  seesaw::tools::register_info(app);
  seesaw::tools::register_make_case(app);
  seesaw::tools::register_run(app);
  seesaw::tools::register_check(app);
  seesaw::tools::register_explain(app);
  seesaw::tools::register_plan(app);
  seesaw::tools::register_bench(app);
  seesaw::tools::register_ladder(app);
  seesaw::tools::register_compare(app);
  seesaw::tools::register_tune(app);
  seesaw::tools::register_profile(app);
  return flush_output(parse_and_run(app, argc, argv));
}
