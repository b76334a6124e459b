// The tables as JSON, for tools and other languages.
#pragma once

#include <string>

namespace seesaw::engine {

// The same text for the life of the process; docs/architecture.md says what the tables are.
const std::string& description();

}  // namespace seesaw::engine
