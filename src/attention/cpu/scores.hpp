// What happens to scores between the two products besides the softmax: the soft cap, and the
// largest of each row. In plain C++: only calls that ask for it pay.
#pragma once

#include <cstdint>

namespace seesaw::attention::cpu {

// tanh within 3 units of the last place of a float; NaN stays NaN.
float tanh_of(float x);

// scores[i] = cap * tanh(scores[i] * scale / cap).
void cap_scores(float* scores, int64_t count, float scale, float cap);

// One vector of rows, its scores [token][lane].
struct ScoreVector {
  const float* scores;
  int64_t tokens;
  int64_t lanes;
  const int32_t* visible;  // [lane] of the first tokens; nullptr: all
};

// largest[lane] = max(largest[lane], scale * score) over the visible tokens; NaN once met stays.
void note_largest(const ScoreVector& vector, float scale, float* largest);

// The larger one; NaN if either is.
float larger_of(float a, float b);

}  // namespace seesaw::attention::cpu
