// options.check_data on a GPU: block tables, lengths, lists and schedules in device memory are
// looked through before a call is launched, and the first offender is told. Waits for the stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>

#include "attention/call.hpp"
#include "attention/plan.hpp"
#include "attention/selection.hpp"

namespace seesaw::attention::device {

// The lengths of block tables. `report`: 8 bytes of device memory, aligned to 8.
Status check_before_prepare(const Plan& plan, const Call& call, void* report, cudaStream_t stream);

// Lengths and block tables, and whether the call's schedule is the one for its lengths.
Status check_before_run(const Plan& plan, const Call& call, cudaStream_t stream);

// Of lists of slots: what attention::first_doubtful finds on the host. The operation, which knows
// the lists' names, tells it.
Status first_doubtful(const Plan& plan, const Call& call, size_t stream_index, void* stream,
                      std::optional<Doubtful>* found);

}  // namespace seesaw::attention::device
