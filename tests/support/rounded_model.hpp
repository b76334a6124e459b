// The arithmetic of a kernel with everything that the bounds allow it, one row after another in
// plain float: probabilities rounded to 16 bits in a frame that lags, sums in one long chain,
// partials in 16 bits, the output rounded. It is what sm90.dense_decode does but for the order of
// its sums, so that the bounds are tried against it on machines without a GPU.
#pragma once

#include "support/decode_run.hpp"

namespace seesaw::testing {

struct RoundedModel {
  int64_t pieces = 1;        // of a sequence; more than one: partials in 16 bits
  float frame_slack = 8.0F;  // how far a maximum may exceed the frame, in powers of two
};

DecodeResults run_model(const DecodeCase& test_case, const RoundedModel& model);

}  // namespace seesaw::testing
