// Quantised tokens as packed keys: what a microkernel of floats or of bfloat16 multiplies.
//
// A record's elements become floats, are multiplied by their scales (one rounding), and are stored
// as floats or rounded once more to bfloat16: none of it rounds where the product fits, as with
// scales that are powers of two. A scale of the whole cache is left to whoever calls.
#pragma once

#include "cpu/microkernel.hpp"

namespace seesaw::cpu {

using PackRecords = void (*)(const PackedLayout&, const CacheFormat&, const RecordRun&,
                             int64_t begin, uint32_t* keys);

struct RecordPackers {
  PackRecords as_float;
  PackRecords as_bf16;
};

// Of the best compiled instruction set that is <= target.
RecordPackers record_packers(Target target);

}  // namespace seesaw::cpu
