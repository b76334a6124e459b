// What one more query token costs: dense decoding of one sequence, s_q from 1 to 256.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "decode_case.hpp"
#include "lab/roofs/timer.hpp"
#include "report.hpp"

namespace seesaw::bench {

struct QueryRowsTime {
  DecodeCase decode_case;
  double us = 0.0;  // median of a few bursts
  // Time over that of the s_q before it in the list, over the ratio of the two s_q: 1.05 means that
  // the tokens more cost 5 % beyond their share. 0 for the first s_q of a number of heads.
  double beyond_share = 0.0;
};

// The points at which row tiles and SMs meet, or every s_q from 1 to 256.
std::vector<int64_t> query_row_points(bool every);

// `like`: batch, lengths, mask; s_q and h_q (16, 64, 128) are set here.
std::vector<QueryRowsTime> measure_query_rows(const DecodeCase& like,
                                              const std::vector<int64_t>& points, const Pool& pool,
                                              const Nvml& nvml, cudaStream_t stream);

void print_query_rows(const std::vector<QueryRowsTime>& times);
void write_query_rows(const std::string& path, const Machine& machine,
                      const std::vector<QueryRowsTime>& times);

}  // namespace seesaw::bench
