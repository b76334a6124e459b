// Waits that are ignored, as if their line had been deleted.
#include "block.hpp"

namespace seesaw::emulator::detail {

bool ignores(Ignored::What what, uint32_t which, unsigned met) {
  const Ignored& ignored = conditions.ignored;
  return ignored.what == what && ignored.which == which &&
         current().index >= ignored.thread_begin && current().index < ignored.thread_end &&
         (ignored.turns == Ignored::Turns::kAll ||
          (met % 2 == 1) == (ignored.turns == Ignored::Turns::kOdd));
}

bool ignores_all(Ignored::What what) { return ignores(what, conditions.ignored.which, 0); }

}  // namespace seesaw::emulator::detail
