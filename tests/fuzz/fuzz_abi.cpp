// The C ABI with damaged problems, options, arguments, calls and schedules, on the CPU. Each answer
// is SEESAW_OK, with results written in full and again the same, or a refusal in four parts that
// wrote nothing. AddressSanitizer sees what is touched beyond the memory that the caller claims.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "abi_case.hpp"
#include "sparse_case.hpp"

namespace seesaw::fuzz {
namespace {

void require(bool truth, const char* what) {
  if (!truth) {
    std::fprintf(stderr, "fuzz_abi: not true: %s. Last message: %s\n", what, seesaw_last_error());
    __builtin_trap();
  }
}

// "where: what arrived, allowed: what is. What to do." Quoted input may hold any of these signs.
bool has_four_parts(std::string_view message) {
  const size_t arrived = message.find(": ");
  const size_t allowed = message.rfind(", allowed: ");
  if (arrived == message.npos || allowed == message.npos || arrived >= allowed || arrived == 0) {
    return false;
  }
  const size_t remedy = message.find(". ", allowed);
  const std::string_view where = message.substr(0, arrived);
  return where.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == where.npos &&
         remedy != message.npos && remedy + 2 < message.size() &&
         std::isupper(static_cast<unsigned char>(message[remedy + 2])) != 0 &&
         message.back() == '.';
}

// Neither a device error nor an internal one: nothing here has a device, or deserves a defect.
bool accepted(seesaw_status status) {
  if (status == SEESAW_OK) {
    return true;
  }
  require(status == SEESAW_INVALID_ARGUMENT || status == SEESAW_NOT_SUPPORTED ||
              status == SEESAW_INVALID_TYPE,
          "a refusal's status blames the caller");
  require(has_four_parts(seesaw_last_error()), "a refusal has four parts");
  return false;
}

// Where a function writes a list: exactly as many bytes as rows of row_bytes fill.
struct List {
  explicit List(Input& input, size_t known)
      : row_bytes(input.one_in(8) ? static_cast<uint64_t>(input.number()) : known),
        capacity((input.below(64) + 8) % 64),
        rows(allocate(row_bytes <= 4096 ? row_bytes * capacity : 1)) {}
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(rows.get());
  }
  uint64_t row_bytes;
  uint64_t capacity;
  Bytes rows;
  uint64_t count = 0;
};

const char* operation_name(Input& input, const char* right, std::string* storage) {
  switch (input.below(16)) {
    case 15:
      return nullptr;
    case 14:
      *storage = input.text(40);
      return storage->c_str();
    default:
      return right;
  }
}

// One of the `older` choices or, from byte 224 on, of `sparse` ones behind them. Smaller bytes mean
// what they did before there were sparse operations, and so do the seeds of then.
uint32_t choose(Input& input, uint32_t older, uint32_t sparse) {
  const uint8_t choice = input.byte();
  return choice < 224 ? choice % older : older + choice % sparse;
}

// Pointers of the options, after damage: NULL, a name that exists, or any text. A tuning is text
// itself: no file is opened.
void place_texts(Input& input, std::string* kernel, std::string* tuning, seesaw_options* options) {
  constexpr const char* kKernels[] = {"cpu.dense_decode",   "reference.dense_decode",
                                      "cpu.merge_states",   "reference.merge_states",
                                      "cpu.append",         "reference.append",
                                      "cpu.gather",         "reference.gather",
                                      "cpu.sparse_decode",  "reference.sparse_decode",
                                      "cpu.sparse_prefill", "reference.sparse_prefill"};
  *kernel = input.one_in(4) ? input.text(32) : kKernels[choose(input, 8, 4)];
  *tuning = input.one_in(4) ? "{" + input.text(250) : "none";
  options->kernel = input.one_in(3) ? kernel->c_str() : nullptr;
  options->tuning = input.one_in(3) ? tuning->c_str() : nullptr;
}

// A buffer of a call: as large as the call claims, but no larger than the plan needs.
Bytes place_buffer(Input& input, uint64_t needed, uint64_t claimed, void** pointer) {
  constexpr uint64_t kMost = 4 << 20;
  const uint64_t bytes = std::min(needed, claimed);
  if (bytes > kMost || input.one_in(32)) {
    *pointer = nullptr;
    return Bytes();
  }
  const size_t offset = input.one_in(32) ? 8 : 0;
  Bytes memory = allocate(bytes + offset, 256);
  *pointer = memory.get() + offset;
  return memory;
}

// What no call leaves in a result: every element with all bits set.
bool untouched(const TensorMemory& memory) {
  return std::all_of(memory.data(), memory.data() + memory.size(),
                     [](unsigned char byte) { return byte == 0xFF; });
}

// Every element of the view was written. NaNs that arithmetic makes have other bits.
bool written(const seesaw_tensor& tensor) {
  const size_t element = size_of(tensor.dtype);
  int64_t extent[SEESAW_MAX_RANK] = {1, 1, 1, 1};
  int64_t stride[SEESAW_MAX_RANK] = {};
  std::copy_n(tensor.shape, tensor.rank, extent);
  std::copy_n(tensor.stride, tensor.rank, stride);
  for (int64_t a = 0; a < extent[0]; ++a) {
    for (int64_t b = 0; b < extent[1]; ++b) {
      for (int64_t c = 0; c < extent[2]; ++c) {
        for (int64_t d = 0; d < extent[3]; ++d) {
          const int64_t at = (a > 0 ? a * stride[0] : 0) + (b > 0 ? b * stride[1] : 0) +
                             (c > 0 ? c * stride[2] : 0) + (d > 0 ? d * stride[3] : 0);
          uint32_t bits = 0xFFFFFFFF;
          std::memcpy(&bits, static_cast<const char*>(tensor.data) + at * int64_t(element),
                      element);
          if (bits == 0xFFFFFFFF) {
            return false;
          }
        }
      }
    }
  }
  return true;
}

// A case with everything around it, and the calls made of it.
template <typename Case>
class Session {
 public:
  explicit Session(Input& input) : input_(input), case_(input) {
    options_.num_threads = 1 + static_cast<int32_t>(input.one_in(16));
    options_.batch_invariant = input.one_in(4);
    options_.check_data = input.one_in(4);
    for (uint32_t left = input.below(4); left > 0; --left) {
      damage();
    }
    place_texts(input, &kernel_, &tuning_, &options_);
  }

  void run() {
    const Sized problem(case_.problem);
    const Sized options(options_);
    const seesaw_options* given_options = input_.one_in(16) ? nullptr : options.get();
    const char* name = operation_name(input_, Case::kOperation, &name_);
    const bool any = ask_support(name, problem.get(), given_options);
    seesaw_plan* plan = nullptr;
    const bool planned = accepted(seesaw_plan_create(name, problem.get(), given_options, &plan));
    require(planned == (plan != nullptr), "a plan is made if and only if that is the answer");
    require(any || !planned, "what is planned is supported");
    place_memory();
    ask_problem(name);
    if (planned && options_.num_threads <= 4) {
      ask_plan(plan);
      call(plan);
    }
    seesaw_plan_destroy(plan);
  }

 private:
  void damage() {
    switch (input_.below(5)) {
      case 0:
        return input_.damage(&case_.args);
      case 1:
        return input_.damage(&case_.problem);
      case 2:
        return input_.damage(&options_);
      case 3:
        return input_.damage(&call_);
      default:
        return case_.damage_lists(input_);
    }
  }

  // Whether any kernel can.
  bool ask_support(const char* name, const void* problem, const seesaw_options* options) {
    List list(input_, sizeof(seesaw_kernel_support));
    auto* rows = list.as<seesaw_kernel_support>();
    uint64_t* count = input_.one_in(32) ? nullptr : &list.count;
    const bool answered = accepted(
        seesaw_supports(name, problem, options, rows, list.row_bytes, list.capacity, count));
    if (!answered || list.row_bytes != sizeof(*rows) || list.capacity < list.count) {
      return true;  // not told
    }
    bool any = false;
    for (uint64_t i = 0; i < list.count; ++i) {
      require((rows[i].supported == 1) == (*rows[i].reason == '\0'),
              "a kernel that is not supported says why");
      any = any || rows[i].supported == 1;
    }
    return any;
  }

  void place_memory() {
    for (const Place& place : case_.inputs()) {
      memory_.emplace_back(input_, place.fill, place.tensor);
    }
    for (const Place& place : case_.results()) {
      results_.emplace_back(input_, place.fill, place.tensor);
    }
    case_.place_lists(input_);
  }

  void ask_problem(const char* name) {
    typename Case::Problem told{};
    told.struct_size = input_.one_in(16) ? static_cast<uint64_t>(input_.number()) : sizeof(told);
    const Sized args(case_.args);
    const Sized problem(told);
    accepted(seesaw_problem_of(name, args.get(), problem.get()));
  }

  void ask_plan(const seesaw_plan* plan) {
    const seesaw_plan* given = input_.one_in(32) ? nullptr : plan;
    seesaw_plan_details details{};
    if (input_.one_in(8)) {
      details.struct_size = static_cast<uint64_t>(input_.number());
    }
    accepted(seesaw_plan_info(given, Sized(details).get()));
    details_.struct_size = sizeof(details_);
    require(seesaw_plan_info(plan, &details_) == SEESAW_OK, "a plan tells its details");
  }

  void call(const seesaw_plan* plan) {
    if (call_.schedule_bytes == 0) {
      call_.schedule_bytes = details_.schedule_bytes;
    }
    if (call_.workspace_bytes == 0) {
      call_.workspace_bytes = details_.workspace_bytes;
    }
    const Bytes schedule =
        place_buffer(input_, details_.schedule_bytes, call_.schedule_bytes, &call_.schedule);
    const Bytes workspace =
        place_buffer(input_, details_.workspace_bytes, call_.workspace_bytes, &call_.workspace);
    const Sized args(case_.args);
    const Sized call(call_);
    if (!input_.one_in(16)) {
      accepted(seesaw_plan_prepare(plan, args.get(), call.get()));
    }
    list_pieces(plan);
    if (run_once(plan, args.get(), call.get()) && case_.is_right()) {
      run_again(plan, args.get(), call.get());
    }
  }

  // Whether the library sees the tensor: it has memory, and the arguments are of a version with it.
  bool given(const seesaw_tensor& tensor) const {
    const auto end =
        reinterpret_cast<uintptr_t>(&tensor + 1) - reinterpret_cast<uintptr_t>(&case_.args);
    return tensor.data != nullptr && case_.args.struct_size >= end;
  }

  void list_pieces(const seesaw_plan* plan) {
    List list(input_, sizeof(seesaw_piece));
    if (call_.schedule_bytes >= details_.schedule_bytes || call_.schedule == nullptr) {
      accepted(seesaw_plan_pieces(plan, call_.schedule, call_.schedule_bytes,
                                  list.as<seesaw_piece>(), list.row_bytes, list.capacity,
                                  &list.count));
    }
  }

  bool run_once(const seesaw_plan* plan, const typename Case::Args* args, const seesaw_call* call) {
    const bool done = accepted(seesaw_plan_run(plan, args, call));
    auto memory = results_.begin();
    for (const Place& place : case_.results()) {
      require(!done || !case_.writes_all() || !given(*place.tensor) || written(*place.tensor),
              "results are written in full");
      require(done || untouched(*memory), "a refused run writes nothing");
      ++memory;
    }
    return done;
  }

  // Once more: traced, then with one byte of the schedule changed. Both give the same bits, or
  // nothing.
  void run_again(const seesaw_plan* plan, const typename Case::Args* args,
                 const seesaw_call* call) {
    std::vector<std::vector<unsigned char>> first;
    for (const TensorMemory& memory : results_) {
      first.emplace_back(memory.data(), memory.data() + memory.size());
    }
    List list(input_, sizeof(seesaw_trace_span));
    accepted(seesaw_plan_trace(plan, args, call, list.as<seesaw_trace_span>(), list.row_bytes,
                               list.capacity, &list.count));
    if (details_.schedule_bytes > 0 && input_.one_in(2)) {
      const auto at = static_cast<uint64_t>(input_.number()) % details_.schedule_bytes;
      static_cast<unsigned char*>(call_.schedule)[at] ^= static_cast<unsigned char>(input_.byte());
      list_pieces(plan);
    }
    accepted(seesaw_plan_run(plan, args, call));
    auto before = first.begin();
    for (const TensorMemory& memory : results_) {
      require(
          std::equal(before->begin(), before->end(), memory.data(), memory.data() + memory.size()),
          "a second run gives the same bits");
      ++before;
    }
  }

  Input& input_;
  Case case_;
  seesaw_options options_{};
  seesaw_call call_{};
  seesaw_plan_details details_{};
  std::string kernel_;
  std::string tuning_;
  std::string name_;
  std::list<TensorMemory> memory_;
  std::list<TensorMemory> results_;
};

// What needs no plan.
void ask_library(Input& input) {
  seesaw_stats stats{};
  if (input.one_in(4)) {
    stats.struct_size = static_cast<uint64_t>(input.number());
  }
  const auto index = static_cast<uint64_t>(input.number());
  const bool there = accepted(seesaw_stats_get(index, Sized(stats).get()));
  require(!there || index < seesaw_stats_count(), "only rows that there are can be read");
  List list(input, sizeof(seesaw_device_info));
  accepted(seesaw_list_devices(list.as<seesaw_device_info>(), list.row_bytes, list.capacity,
                               &list.count));
  uint64_t needed = 0;
  const uint64_t size = input.below(2) * uint64_t{input.byte()} * 128;
  const Bytes text = allocate(size);
  accepted(seesaw_describe(reinterpret_cast<char*>(text.get()), size, &needed));
}

}  // namespace
}  // namespace seesaw::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  for (const char* name : {"SEESAW_CHECK", "SEESAW_TUNE_FILE", "SEESAW_CPU_TARGET"}) {
    unsetenv(name);
  }
  setenv("OMP_WAIT_POLICY", "passive", 1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seesaw::fuzz;
  Input input(data, size);
  switch (choose(input, 8, 2)) {
    case 7:
      ask_library(input);
      break;
    case 3:
      Session<AppendCase>(input).run();
      break;
    case 4:
      Session<GatherCase>(input).run();
      break;
    case 5:
    case 6:
      Session<MergeStatesCase>(input).run();
      break;
    case 8:
      Session<SparseDecodeCase>(input).run();
      break;
    case 9:
      Session<SparsePrefillCase>(input).run();
      break;
    default:
      Session<DenseDecodeCase>(input).run();
  }
  return 0;
}
