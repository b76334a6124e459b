// What a call costs the host: the C ABI's run beside bare launches of the same kernels.
#pragma once

#include <string>
#include <vector>

#include "decode_case.hpp"
#include "report.hpp"

namespace seesaw::bench {

// Microseconds of the host a call, medians over batches of calls. The stream is emptied between the
// batches, so no call waits for the device.
struct HostTime {
  DecodeCase decode_case;
  int launches = 0;        // kernels of a call
  double run_us = 0.0;     // seesaw_dense_decode_run, always the same tensors
  double layers_us = 0.0;  // the same, as a model calls it: 61 layers' caches in turn
  double bare_us = 0.0;    // cudaLaunchKernelExC of the same grids, parameters and attributes
};

// All three in turns, so that they meet the same state of the machine.
HostTime measure_host_time(const DecodeCase& c, const Pool& pool, cudaStream_t stream);

void print_host_time(const std::vector<HostTime>& times);
void write_host_time(const std::string& path, const Machine& machine,
                     const std::vector<HostTime>& times);

}  // namespace seesaw::bench
