// How long parts of `seesaw compare` will take: for progress only, so within a factor of two.
#pragma once

#include <cstdint>
#include <vector>

#include "compare/measure.hpp"

namespace seesaw::tools {

// Making the inputs of a setting, and its rounds.
double group_seconds(const Bench& bench, const Setting& setting,
                     const std::vector<Contender>& contenders);

// An error against the reference in double, which the host computes with one thread.
double error_seconds(const Bench& bench, const Setting& setting, const Contender& contender);

// Singular values of a matrix [rows, columns] in double, with one thread.
double decomposition_seconds(const Bench& bench, int64_t rows, int64_t columns);

}  // namespace seesaw::tools
