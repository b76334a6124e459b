#include "flags.hpp"

#include <CLI/CLI.hpp>

namespace seesaw::tools {
namespace {

// What is used if the flag is not given, for --help.
std::string default_text(const Field& field, const void* from) {
  if (!field.is_whole() && !field.has_choices()) {
    return field_text(field, from);
  }
  const int64_t given = get_number(field, from);
  const int64_t value = given != 0 ? given : field.fallback;
  return value == 0 && field.is_whole() ? "" : value_text(field, value);
}

const CLI::Option* given_option(const CLI::App& command, const Field& field) {
  const CLI::Option* option =
      field.flag.empty() ? nullptr : command.get_option_no_throw(field.first_flag());
  return option == nullptr || option->count() == 0 ? nullptr : option;
}

}  // namespace

void add_field_flags(CLI::App& command, const std::vector<Field>& fields, void* to,
                     const std::function<bool(const Field&)>& wanted) {
  for (const Field& field : fields) {
    if (field.flag.empty() || !wanted(field)) {
      continue;
    }
    const Field* kept = &field;
    if (field.is_yes_or_no()) {
      command.add_flag_function(
          field.flag, [kept, to](int64_t) { set_number(*kept, 1, to); }, field.help);
      continue;
    }
    std::string help = field.help;
    if (field.type == Field::Type::kDType) {
      help += ": " + allowed_text(field);
    }
    CLI::Option* option = command.add_option_function<std::string>(
        field.flag,
        [kept, to](const std::string& text) { parse_field(*kept, text, to, kept->first_flag()); },
        help);
    option->type_name(field.is_whole() ? "INT" : "TEXT");
    option->default_str(default_text(field, to));
  }
}

void copy_given(const CLI::App& command, const std::vector<Field>& fields, const void* from,
                void* to) {
  for (const Field& field : fields) {
    if (given_option(command, field) != nullptr) {
      set_number(field, get_number(field, from), to);
    }
  }
}

std::vector<std::string> given_arguments(const CLI::App& command, const std::vector<Field>& fields,
                                         const void* from) {
  std::vector<std::string> arguments;
  for (const Field& field : fields) {
    if (given_option(command, field) == nullptr) {
      continue;
    }
    arguments.push_back(field.first_flag());
    if (!field.is_yes_or_no()) {
      arguments.push_back(field_text(field, from));
    }
  }
  return arguments;
}

}  // namespace seesaw::tools
