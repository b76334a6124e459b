#include "output.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "io/atomic_file.hpp"

namespace seesaw::tools {

void emit_text(const std::string& text, const std::string& target) {
  if (target == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    write_text_file(target, text);
  }
}

void emit_json(const nlohmann::ordered_json& json, const std::string& target) {
  // Names from files may hold bytes that are no UTF-8.
  emit_text(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n",
            target);
}

}  // namespace seesaw::tools
