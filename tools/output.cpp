#include "output.hpp"

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "io/atomic_file.hpp"

namespace seesaw::tools {

namespace {

int first_error = 0;  // of standard output: later ones only follow from it

void remember_error() {
  if (first_error == 0) {
    first_error = errno != 0 ? errno : EIO;
  }
}

}  // namespace

void emit_text(const std::string& text, const std::string& target) {
  if (target == "-") {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      remember_error();
    }
  } else {
    write_text_file(target, text);
  }
}

void emit_json(const nlohmann::ordered_json& json, const std::string& target) {
  // Names from files may hold bytes that are no UTF-8.
  emit_text(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n",
            target);
}

int flush_standard_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    remember_error();
  }
  return first_error == EPIPE ? 0 : first_error;
}

}  // namespace seesaw::tools
