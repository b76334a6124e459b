#include "usage.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>

namespace seesaw::tools {
namespace {

size_t edits(const std::string& a, const std::string& b) {
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

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> options_of(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) {  // hidden
      continue;
    }
    for (const std::string& name : option->get_lnames()) {
      names.push_back("--" + name);
    }
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

// "Did you mean --heads? Run ..." or only the latter.
std::string advice(const std::string& meant, const std::string& where) {
  return (meant.empty() ? "" : "Did you mean " + meant + "? ") + "Run `" + where + " --help`.";
}

}  // namespace

std::string nearest(const std::string& typed, const std::vector<std::string>& names, size_t most) {
  std::string best;
  size_t fewest = most;
  for (const std::string& name : names) {
    const size_t needed = edits(typed, name);
    if (needed < fewest || (needed == fewest && best.empty())) {
      fewest = needed;
      best = name;
    }
  }
  return best;
}

void require_command(const CLI::App& app, const std::string& typed) {
  const std::vector<std::string> names = commands_of(app);
  if (typed.empty() || typed[0] == '-' ||
      std::find(names.begin(), names.end(), typed) != names.end()) {
    return;
  }
  throw bad_input({"seesaw", "command " + printable(typed), "allowed: " + joined(names),
                   advice(nearest(typed, names, std::numeric_limits<size_t>::max()), "seesaw")});
}

Failure unexpected(const CLI::App& command, const std::string& where, const std::string& text) {
  if (text.empty() || text[0] != '-') {
    return bad_input({where, "argument " + printable(text), "one more than the command takes",
                      advice("", where)});
  }
  const std::string typed = text.substr(0, text.find('='));
  // A third of the letters may be wrong: beyond that a suggestion would be a guess.
  const size_t letters = std::max<size_t>(typed.size(), 2) - 2;
  return bad_input({where, "option " + printable(typed), "which the command does not have",
                    advice(nearest(typed, options_of(command), letters / 3), where)});
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const auto commands = app.get_subcommands();
  const CLI::App& command = commands.empty() ? app : *commands[0];
  const std::string where = commands.empty() ? "seesaw" : "seesaw " + command.get_name();
  const std::vector<std::string> rest = command.remaining();
  const bool no_command =
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && commands.empty();
  const bool too_much = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  if ((no_command || too_much) && !rest.empty()) {
    return unexpected(command, where, rest.front()).what();
  }
  if (no_command) {
    return where + ": no command, needed: one of " + joined(commands_of(app)) + ". " +
           advice("", where);
  }
  const bool about_a_value = dynamic_cast<const CLI::ConversionError*>(&error) != nullptr ||
                             dynamic_cast<const CLI::ValidationError*>(&error) != nullptr;
  return where + ": " + error.what() + (about_a_value ? ", allowed: " : ", needed: ") +
         "what --help says. " + advice("", where);
}

}  // namespace seesaw::tools
