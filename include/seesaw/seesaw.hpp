// Seesaw: Multi-head Latent Attention. C++20 over the C ABI of seesaw.h: header only, exceptions
// for errors, RAII for plans. The semantics, shapes and flags are documented there.
// An operation's header (seesaw/ops/dense_decode.h) includes this and names its plans:
//
//   seesaw::DenseDecode decode({.batch = 4, .h_q = 128, .max_pages_per_sequence = 16});
//   seesaw::AlignedBuffer schedule(decode.schedule_bytes());   // CPU memory; on a GPU: yours
//   seesaw::AlignedBuffer workspace(decode.workspace_bytes());
//   const seesaw_call call{.schedule = schedule.data(), .schedule_bytes = schedule.size(), ...};
//   decode.prepare({.seq_lens = seq_lens}, call);    // once per decoding step
//   decode.run({.q = q, ..., .scale = scale}, call);  // every layer
#ifndef SEESAW_SEESAW_HPP_
#define SEESAW_SEESAW_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "seesaw/seesaw.h"

namespace seesaw {

// A failure: what() is the four-part message, status() its kind.
class Error : public std::runtime_error {
 public:
  Error(seesaw_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  seesaw_status status() const noexcept { return status_; }

 private:
  seesaw_status status_;
};

// Throws Error unless `status` is SEESAW_OK.
inline void check(seesaw_status status) {
  if (status != SEESAW_OK) {
    throw Error(status, seesaw_last_error());
  }
}

inline constexpr seesaw_device kCpu{SEESAW_CPU, 0};

// A view of contiguous memory of the caller's; adjust `stride` (elements) for anything else.
inline seesaw_tensor make_tensor(const void* data, seesaw_dtype dtype,
                                 std::initializer_list<int64_t> shape,
                                 seesaw_device device = kCpu) {
  if (shape.size() > SEESAW_MAX_RANK) {
    throw Error(SEESAW_INVALID_ARGUMENT, "make_tensor: rank " + std::to_string(shape.size()) +
                                             ", allowed: 0 to 4. Merge dimensions.");
  }
  seesaw_tensor tensor{};
  tensor.data = const_cast<void*>(data);
  tensor.rank = static_cast<int32_t>(shape.size());
  tensor.dtype = dtype;
  tensor.device = device;
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    tensor.shape[i] = shape.begin()[i];
    tensor.stride[i] = stride;
    stride *= shape.begin()[i] > 0 ? shape.begin()[i] : 1;
  }
  return tensor;
}

// Host memory aligned as schedules and workspaces need it.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : size_(bytes) {
    if (bytes > 0) {
      data_.reset(::operator new(bytes, kAlignment));
    }
  }
  void* data() const noexcept { return data_.get(); }
  size_t size() const noexcept { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{256};
  struct Free {
    void operator()(void* data) const noexcept { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

// A kernel's answer to a problem.
struct KernelSupport {
  std::string kernel;
  bool supported = false;
  std::string reason;  // why not
};

// One device. See seesaw_device_info.
struct DeviceInfo {
  seesaw_device device{};
  bool usable = false;
  int32_t num_units = 0;
  uint64_t memory_bytes = 0;
  std::string name;
  std::string features;
  std::string reason;  // why not usable
};

// The CPU, then the GPUs, or an unusable entry that says why there are none.
inline std::vector<DeviceInfo> devices() {
  uint64_t count = 0;
  check(seesaw_list_devices(nullptr, sizeof(seesaw_device_info), 0, &count));
  std::vector<seesaw_device_info> rows(count);
  check(seesaw_list_devices(rows.data(), sizeof(rows[0]), rows.size(), &count));
  std::vector<DeviceInfo> found;
  found.reserve(rows.size());
  for (const seesaw_device_info& row : rows) {
    found.push_back({row.device, row.usable != 0, row.num_units, row.memory_bytes, row.name,
                     row.features, row.reason});
  }
  return found;
}

// What the library knows of itself, as JSON. See seesaw_describe.
inline std::string describe() {
  uint64_t needed = 0;
  check(seesaw_describe(nullptr, 0, &needed));
  std::string text(needed, '\0');
  check(seesaw_describe(text.data(), text.size(), &needed));
  text.resize(text.find('\0'));
  return text;
}

// Every kernel of this build for an operation's problem, in order of preference. Throws if the
// problem, the operation's plain struct, is malformed.
inline std::vector<KernelSupport> supports(const char* operation, const void* problem,
                                           const seesaw_options& options = {}) {
  uint64_t count = 0;
  check(seesaw_supports(operation, problem, &options, nullptr, sizeof(seesaw_kernel_support), 0,
                        &count));
  std::vector<seesaw_kernel_support> rows(count);
  check(seesaw_supports(operation, problem, &options, rows.data(), sizeof(rows[0]), rows.size(),
                        &count));
  std::vector<KernelSupport> answers;
  answers.reserve(rows.size());
  for (const seesaw_kernel_support& row : rows) {
    answers.push_back({row.kernel, row.supported != 0, row.reason});
  }
  return answers;
}

// The pieces of a schedule in host memory, in order of worker.
inline std::vector<seesaw_piece> pieces_of(const seesaw_plan* plan, const void* schedule,
                                           size_t bytes) {
  uint64_t count = 0;
  check(seesaw_plan_pieces(plan, schedule, bytes, nullptr, sizeof(seesaw_piece), 0, &count));
  std::vector<seesaw_piece> pieces(count);
  check(seesaw_plan_pieces(plan, schedule, bytes, pieces.data(), sizeof(seesaw_piece),
                           pieces.size(), &count));
  return pieces;
}

// A plan of an operation: the kernel chosen for a problem and the sizes of its buffers. Immutable,
// so it may be shared between threads. Movable, not copyable. `Operation` is one of those that the
// headers in seesaw/ops/ define, each with a name for its plans: seesaw::DenseDecode.
template <typename Operation>
class PlanOf {
 public:
  using Problem = typename Operation::Problem;
  using Args = typename Operation::Args;

  explicit PlanOf(const Problem& problem, const seesaw_options& options = {}) {
    seesaw_plan* plan = nullptr;
    check(seesaw_plan_create(Operation::kName, &problem, &options, &plan));
    plan_.reset(plan);
    check(seesaw_plan_info(plan, &details_));
  }

  // Every kernel of this build in order of preference. Throws if the problem is malformed.
  static std::vector<KernelSupport> supports(const Problem& problem,
                                             const seesaw_options& options = {}) {
    return seesaw::supports(Operation::kName, &problem, options);
  }

  // The problem that these tensors have, in the fields of `problem` that are 0.
  static Problem problem_of(const Args& args, Problem problem = {}) {
    check(seesaw_problem_of(Operation::kName, &args, &problem));
    return problem;
  }

  const seesaw_plan_details& details() const noexcept { return details_; }
  const char* kernel() const noexcept { return details_.kernel; }
  size_t schedule_bytes() const noexcept { return details_.schedule_bytes; }
  size_t workspace_bytes() const noexcept { return details_.workspace_bytes; }
  const seesaw_plan* get() const noexcept { return plan_.get(); }

  // What the kernel decided, by name: number("num_workers"); 0 if it has no such number.
  int64_t number(std::string_view name) const noexcept {
    const auto* row = reinterpret_cast<const char*>(details_.numbers);
    for (uint64_t i = 0; i < details_.num_numbers; ++i, row += details_.number_bytes) {
      const auto& number = *reinterpret_cast<const seesaw_number*>(row);
      if (name == number.name) {
        return number.value;
      }
    }
    return 0;
  }

  // Fills call.schedule (schedule_bytes(), aligned to 256, on the planned device).
  void prepare(const Args& args, const seesaw_call& call) const {
    check(seesaw_plan_prepare(plan_.get(), &args, &call));
  }

  void run(const Args& args, const seesaw_call& call) const {
    check(seesaw_plan_run(plan_.get(), &args, &call));
  }

  // The pieces of a schedule in host memory, in order of worker.
  std::vector<seesaw_piece> pieces(const void* schedule, size_t bytes) const {
    return pieces_of(plan_.get(), schedule, bytes);
  }

  // A run that also says who did what when; at most `capacity` spans.
  std::vector<seesaw_trace_span> trace(const Args& args, const seesaw_call& call,
                                       size_t capacity) const {
    std::vector<seesaw_trace_span> spans(capacity);
    uint64_t count = 0;
    check(seesaw_plan_trace(plan_.get(), &args, &call, spans.data(), sizeof(seesaw_trace_span),
                            capacity, &count));
    spans.resize(count < capacity ? count : capacity);
    return spans;
  }

 private:
  struct Destroy {
    void operator()(seesaw_plan* plan) const noexcept { seesaw_plan_destroy(plan); }
  };
  std::unique_ptr<seesaw_plan, Destroy> plan_;
  seesaw_plan_details details_{};
};

// Counters of this process, a row for each kernel; see seesaw_stats.
inline std::vector<seesaw_stats> stats() {
  std::vector<seesaw_stats> rows(seesaw_stats_count());
  for (size_t i = 0; i < rows.size(); ++i) {
    check(seesaw_stats_get(i, &rows[i]));
  }
  return rows;
}

}  // namespace seesaw

#endif  // SEESAW_SEESAW_HPP_
