// The tables as JSON, for tools and other languages.
#pragma once

#include <string>

namespace seesaw::engine {

// The same text for the life of the process; docs/operations.md says what stands in it.
const std::string& description();

}  // namespace seesaw::engine
