// The laboratory's names (lab/), as the command uses them.
#pragma once

namespace seesaw::lab {}

namespace seesaw::tools {
using namespace lab;
}
