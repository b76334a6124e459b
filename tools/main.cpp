// seesaw: the command line. Parses, runs one command, and turns whatever ends it into a message on
// stderr and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "commands/commands.hpp"
#include "error.hpp"
#include "io/interrupt.hpp"
#include "output.hpp"
#include "seesaw/seesaw.hpp"
#include "sparse_request.hpp"
#include "usage.hpp"

namespace {

using seesaw::tools::ExitCode;

constexpr const char* kFooter =
    "Exit codes: 0 done; 1 check found errors out of bound; 2 bad input or usage, or nothing here "
    "can do it;\n3 the device or this program failed; 130 interrupted (no file is half-written)."
    "\n\n"
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

int parse_and_run(CLI::App& app, int argc, char** argv) {
  try {
    seesaw::tools::require_command(app, argc > 1 ? argv[1] : "");
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      return app.exit(error);
    }
    return report(seesaw::tools::usage_message(app, error), ExitCode::kBadInput);
  } catch (const seesaw::tools::Failure& failure) {
    return report(failure.what(), failure.code());
  } catch (const seesaw::Error& error) {
    return report(error.what(), code_of(error.status()));
  } catch (const std::bad_alloc&) {
    return report(
        "seesaw: out of memory, this machine has no more free. Use a smaller batch or shorter "
        "sequences.",
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

// --op decides which flags `explain` and `bench` have.
void register_commands(CLI::App& app, const std::string& operation) {
  const bool is_sparse = operation != seesaw::tools::dense_decode().name;
  seesaw::tools::register_info(app);
  seesaw::tools::register_make_case(app);
  seesaw::tools::register_run(app);
  seesaw::tools::register_check(app);
  seesaw::tools::register_cache(app);
  if (is_sparse) {
    seesaw::tools::register_sparse_explain(app, operation);
  } else {
    seesaw::tools::register_explain(app);
  }
  seesaw::tools::register_plan(app);
  if (is_sparse) {
    seesaw::tools::register_sparse_bench(app, operation);
  } else {
    seesaw::tools::register_bench(app);
  }
  seesaw::tools::register_ladder(app);
  seesaw::tools::register_compare(app);
  seesaw::tools::register_tune(app);
  seesaw::tools::register_profile(app);
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
  try {
    register_commands(app, seesaw::tools::operation_typed(argc, argv));
  } catch (const seesaw::tools::Failure& failure) {
    return report(failure.what(), failure.code());
  }
  return flush_output(parse_and_run(app, argc, argv));
}
