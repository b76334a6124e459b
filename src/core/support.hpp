// A kernel's answer to a problem: yes, or why not.
#pragma once

#include <string>
#include <utility>

namespace seesaw {

struct Support {
  bool supported = true;
  std::string reason;

  static Support yes() { return {}; }
  static Support no(std::string reason) { return {false, std::move(reason)}; }
};

}  // namespace seesaw
