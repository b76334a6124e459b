// Output to where an option says.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

namespace seesaw::tools {

// `target`: "-" for standard output, else a file, which appears complete or not at all.
void emit_text(const std::string& text, const std::string& target);
void emit_json(const nlohmann::ordered_json& json, const std::string& target);

// To standard output; unlike fmt::print it does not throw where a reader went away.
template <typename... T>
void print_out(fmt::format_string<T...> format, T&&... arguments) {
  emit_text(fmt::format(format, std::forward<T>(arguments)...), "-");
}

// To standard error, for the progress and the warnings of a command: what cannot be shown there
// does not end it.
template <typename... T>
void print_note(fmt::format_string<T...> format, T&&... arguments) {
  std::fputs(fmt::format(format, std::forward<T>(arguments)...).c_str(), stderr);
}

// At the end: why standard output did not take all that was printed, as an errno; 0 if it did, or
// if a reader went away, which is no failure.
int flush_standard_output();

}  // namespace seesaw::tools
