// 2^f for |f| <= 1/2 as a polynomial in f, highest power first: a weighted least-squares fit
// iterated to the least maximum of the relative error, with the constant held at 1 so that 2^0 is
// exact. Relative error 1.6e-8 in exact arithmetic, 7.6e-8 (about one float rounding) when
// evaluated in float.
#pragma once

namespace seesaw::cpu {

inline constexpr int kExp2Terms = 7;
inline constexpr float kExp2Coefficients[kExp2Terms] = {1.535336196e-04F,
                                                        1.339887385e-03F,
                                                        9.618436918e-03F,
                                                        5.550332367e-02F,
                                                        2.402264774e-01F,
                                                        6.931471825e-01F,
                                                        1.0F};

}  // namespace seesaw::cpu
