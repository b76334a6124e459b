// Seesaw: Multi-head Latent Attention. C++20 over the C ABI of seesaw.h: header only, exceptions
// for errors, RAII for plans. The semantics, shapes and flags are documented there.
//
//   seesaw::DenseDecodeDescriptor problem{.batch = 4, .h_q = 128, .max_pages_per_sequence = 16};
//   seesaw::DenseDecode decode(problem);                       // chooses a kernel
//   seesaw::AlignedBuffer schedule(decode.schedule_bytes());   // CPU memory; on a GPU: yours
//   seesaw::AlignedBuffer workspace(decode.workspace_bytes());
//   decode.schedule(seq_lens, schedule.data(), schedule.size());   // once per decoding step
//   decode.run({.q = q, ..., .scale = scale, .schedule = ..., .workspace = ...});  // every layer
#ifndef SEESAW_SEESAW_HPP_
#define SEESAW_SEESAW_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
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

// Dense decoding before any data: fields as in seesaw_dense_decode_problem.
struct DenseDecodeDescriptor {
  seesaw_device device = kCpu;
  seesaw_dtype q_dtype = SEESAW_BFLOAT16;
  seesaw_dtype kv_dtype = SEESAW_BFLOAT16;
  int64_t batch = 1;
  int64_t s_q = 1;
  int64_t h_q = 128;
  int64_t h_kv = 1;
  int64_t d_qk = 576;
  int64_t d_v = 512;
  int64_t page_size = 64;
  int64_t max_pages_per_sequence = 1;
  int64_t kv_page_stride = 0;
  int64_t kv_token_stride = 0;
  int64_t kv_head_stride = 0;
  uint32_t flags = 0;
  int32_t num_threads = 0;
  std::string kernel = {};  // empty: the first that can
  std::string tuning = {};  // empty: SEESAW_TUNE_FILE's, if that is set

  // Valid as long as this object is.
  seesaw_dense_decode_problem to_c() const {
    seesaw_dense_decode_problem problem{};
    problem.struct_size = sizeof(problem);
    problem.device = device;
    problem.q_dtype = q_dtype;
    problem.kv_dtype = kv_dtype;
    problem.batch = batch;
    problem.s_q = s_q;
    problem.h_q = h_q;
    problem.h_kv = h_kv;
    problem.d_qk = d_qk;
    problem.d_v = d_v;
    problem.page_size = page_size;
    problem.max_pages_per_sequence = max_pages_per_sequence;
    problem.kv_page_stride = kv_page_stride;
    problem.kv_token_stride = kv_token_stride;
    problem.kv_head_stride = kv_head_stride;
    problem.flags = flags;
    problem.num_threads = num_threads;
    problem.kernel = kernel.empty() ? nullptr : kernel.c_str();
    problem.tuning = tuning.empty() ? nullptr : tuning.c_str();
    return problem;
  }
};

// The tensors of one call: fields as in seesaw_dense_decode_args.
struct DenseDecodeTensors {
  seesaw_tensor q;
  seesaw_tensor kv_cache;
  seesaw_tensor block_table;
  seesaw_tensor seq_lens;
  seesaw_tensor out;
  seesaw_tensor lse{};  // data == nullptr: not wanted
  float scale = 1.0F;
  void* schedule = nullptr;
  uint64_t schedule_bytes = 0;
  void* workspace = nullptr;
  uint64_t workspace_bytes = 0;
  void* stream = nullptr;
};

// A kernel's answer to a problem.
struct KernelSupport {
  std::string kernel;
  bool supported = false;
  std::string reason;  // why not
};

// The CPU, then the GPUs, or an unusable entry that says why there are none.
inline std::vector<seesaw_device_info> devices() {
  uint64_t count = 0;
  check(seesaw_list_devices(nullptr, 0, &count));
  std::vector<seesaw_device_info> rows(count);
  check(seesaw_list_devices(rows.data(), rows.size(), &count));
  return rows;
}

// Every kernel of this build in order of preference. Throws if the problem is malformed.
inline std::vector<KernelSupport> supports(const DenseDecodeDescriptor& descriptor) {
  const seesaw_dense_decode_problem problem = descriptor.to_c();
  uint64_t count = 0;
  check(seesaw_dense_decode_supports(&problem, nullptr, 0, &count));
  std::vector<seesaw_kernel_support> rows(count);
  check(seesaw_dense_decode_supports(&problem, rows.data(), rows.size(), &count));
  std::vector<KernelSupport> answers;
  answers.reserve(rows.size());
  for (const seesaw_kernel_support& row : rows) {
    answers.push_back({row.kernel, row.supported != 0, row.reason});
  }
  return answers;
}

// A plan: the kernel chosen for a problem and the sizes of its buffers. Immutable, so it may be
// shared between threads. Movable, not copyable.
class DenseDecode {
 public:
  explicit DenseDecode(const DenseDecodeDescriptor& descriptor) {
    const seesaw_dense_decode_problem problem = descriptor.to_c();
    seesaw_dense_decode_plan* plan = nullptr;
    check(seesaw_dense_decode_plan_create(&problem, &plan));
    plan_.reset(plan);
    info_.struct_size = sizeof(info_);
    check(seesaw_dense_decode_plan_get_info(plan, &info_));
  }

  const seesaw_dense_decode_plan_info& info() const noexcept { return info_; }
  const char* kernel() const noexcept { return info_.kernel; }
  size_t schedule_bytes() const noexcept { return info_.schedule_bytes; }
  size_t workspace_bytes() const noexcept { return info_.workspace_bytes; }
  const seesaw_dense_decode_plan* get() const noexcept { return plan_.get(); }

  // Fills `buffer` (schedule_bytes(), aligned to 256, on the problem's device).
  void schedule(const seesaw_tensor& seq_lens, void* buffer, size_t bytes,
                void* stream = nullptr) const {
    check(seesaw_dense_decode_schedule(plan_.get(), &seq_lens, buffer, bytes, stream));
  }

  // The pieces of a schedule in host memory, in order of worker.
  std::vector<seesaw_piece> pieces(const void* schedule, size_t bytes) const {
    uint64_t count = 0;
    check(seesaw_dense_decode_schedule_pieces(plan_.get(), schedule, bytes, nullptr, 0, &count));
    std::vector<seesaw_piece> pieces(count);
    check(seesaw_dense_decode_schedule_pieces(plan_.get(), schedule, bytes, pieces.data(),
                                              pieces.size(), &count));
    return pieces;
  }

  void run(const DenseDecodeTensors& call) const {
    const seesaw_dense_decode_args args = to_c(call);
    check(seesaw_dense_decode_run(plan_.get(), &args));
  }

  // A run that also says who did what when; at most `capacity` spans.
  std::vector<seesaw_trace_span> trace(const DenseDecodeTensors& call, size_t capacity) const {
    const seesaw_dense_decode_args args = to_c(call);
    std::vector<seesaw_trace_span> spans(capacity);
    uint64_t count = 0;
    check(seesaw_dense_decode_trace(plan_.get(), &args, spans.data(), capacity, &count));
    spans.resize(count < capacity ? count : capacity);
    return spans;
  }

 private:
  static seesaw_dense_decode_args to_c(const DenseDecodeTensors& call) {
    seesaw_dense_decode_args args{};
    args.struct_size = sizeof(args);
    args.q = call.q;
    args.kv_cache = call.kv_cache;
    args.block_table = call.block_table;
    args.seq_lens = call.seq_lens;
    args.out = call.out;
    args.lse = call.lse;
    args.scale = call.scale;
    args.schedule = call.schedule;
    args.schedule_bytes = call.schedule_bytes;
    args.workspace = call.workspace;
    args.workspace_bytes = call.workspace_bytes;
    args.stream = call.stream;
    return args;
  }

  struct Destroy {
    void operator()(seesaw_dense_decode_plan* plan) const noexcept {
      seesaw_dense_decode_plan_destroy(plan);
    }
  };
  std::unique_ptr<seesaw_dense_decode_plan, Destroy> plan_;
  seesaw_dense_decode_plan_info info_{};
};

// Counters of this process, a row for each kernel; see seesaw_stats.
inline std::vector<seesaw_stats> stats() {
  std::vector<seesaw_stats> rows(seesaw_stats_count());
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].struct_size = sizeof(rows[i]);
    check(seesaw_stats_get(i, &rows[i]));
  }
  return rows;
}

// The same in Prometheus' text format. Allocates; to avoid that, use the C function with a buffer.
inline std::string stats_prometheus() {
  uint64_t needed = 0;
  check(seesaw_stats_prometheus(nullptr, 0, &needed));
  std::string text(needed, '\0');
  check(seesaw_stats_prometheus(text.data(), text.size(), &needed));
  text.resize(text.find('\0'));
  return text;
}

}  // namespace seesaw

#endif  // SEESAW_SEESAW_HPP_
