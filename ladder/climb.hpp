// The ladder as a command: seesaw_ladder is this and nothing else.
#pragma once

namespace seesaw::ladder {

// Parses arguments, climbs, prints. Returns the process's exit status (program.hpp): 0, 1 if a rung
// was wrong or failed, 2 for a bad command line or an output that cannot be written. Throws what
// the standard library throws.
int climb(int argc, const char* const* argv);

}  // namespace seesaw::ladder
