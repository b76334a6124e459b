// Which kernels have a variant that notes who did what when.
#pragma once

#include "base/status.hpp"
#include "plan/trace.hpp"
#include "registry/dense_decode.hpp"

namespace seesaw::registry {

// Runs validated arguments and reports; may allocate and wait for the device.
using TraceFunction = Status (*)(const DenseDecodePlan&, const DenseDecodeArguments&, plan::Trace*);

// nullptr for a kernel that has no such variant.
TraceFunction trace_function(const DenseDecodeKernel& kernel);

}  // namespace seesaw::registry
