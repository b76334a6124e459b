// What a log-sum-exp is written as.
#pragma once

namespace seesaw {

enum class LseBase { kNatural, kTwo };
enum class EmptyLse { kNegativeInfinity, kPositiveInfinity };  // of a row with nothing to attend

}  // namespace seesaw
