// An operation as data: tables of its problem's fields, of its arguments and of its kernels. The
// engine works on these and knows no operation. Inside an operation's folder everything is typed;
// erase() below is where types end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/status.hpp"
#include "core/field.hpp"
#include "core/options.hpp"
#include "core/support.hpp"
#include "core/trace.hpp"

namespace seesaw {

// A tensor of the arguments struct.
enum class Use : uint8_t { kIn, kOut, kInOut };

// The shape that an argument has instead where a field of the problem is not 0.
struct OtherShape {
  const char* field = "";
  const char* shape = "";
};

struct Arg {
  const char* name;
  size_t offset;      // of a seesaw_tensor; of a const seesaw_tensor* if it is a list
  const char* shape;  // "[b, s_q, h_q, d_qk]": fields of the problem, "1", or any size where
                      // the name is no field's; the same name is the same size in every argument
  const char* dtype;  // "int32", or the field that has the dtype or the format: "q_dtype"
  Use use = Use::kIn;
  bool optional = false;  // data NULL: not given
  bool prepares = false;  // read by seesaw_plan_prepare, too
  bool strided = false;   // the innermost stride may be any, too
  bool packed = false;    // a vector's has to be 1, too
  const char* list = "";  // the field with the number of tensors; "": it is one tensor
  const char* help = "";
  OtherShape other = {};
  const char* lacks = "";      // the field with the columns that the last dimension lacks, as
                               // another argument brings them
  const char* needed_by = "";  // the field that, not 0, makes an optional argument needed
};

// A number of a kernel's plan that `seesaw tune` may set: a multiple of `step` in [least, most].
struct Knob {
  const char* name;
  int32_t least;
  int32_t most;
  int32_t step;
  const char* help;
};

// A value for each knob of a kernel, in the order of its table.
using KnobValues = std::span<const int32_t>;
inline constexpr int32_t kUnset = -1;  // the kernel's own

// What every plan has. Operations derive theirs from it.
struct Plan {
  uint64_t workspace_bytes = 0;
  uint64_t schedule_bytes = 0;         // 0: there is nothing to prepare
  std::vector<seesaw_number> numbers;  // what the kernel decided, for plan_info and explain
  virtual ~Plan() = default;
};

// What a run reads and writes at least, and how much arithmetic it is, for counters and rates.
struct Work {
  uint64_t sequences = 0;
  uint64_t tensor_bytes = 0;      // of the arguments, the cache aside
  uint64_t kv_bytes_planned = 0;  // of the cache, were every sequence as long as planned
  uint64_t kv_tokens = 0;         // only where lengths lie in host memory, as the next
  uint64_t kv_bytes = 0;
};

// Called for each piece of a schedule, in order.
struct PieceVisitor {
  void (*visit)(void* context, const seesaw_piece& piece);
  void* context;
};

// What a kernel asks of a field of the problem, beyond the field's own range.
struct Limit {
  const char* field;
  std::array<int64_t, 8> values{};  // these alone, up to the first 0; none: any
  int64_t multiple_of = 1;
  int64_t most = 0;  // 0: any
};

// What is known of a kernel without asking it. `name` is its path under src/ops, turned around:
// sm90.dense_decode.bf16 lives in src/ops/dense_decode/sm90, or is attention's core of that name.
struct KernelFacts {
  const char* name;
  seesaw_device_type device;
  const char* hardware;  // in words: "Hopper GPUs"
  std::span<const Knob> knobs = {};
  std::span<const Limit> limits = {};
};

// One kernel behind plain function pointers.
struct Kernel : KernelFacts {
  // Whether the kernel can run the problem, which is within its limits, here, or why not. Never an
  // error.
  Support (*supports)(const void* problem, const Options&);
  Status (*plan)(const void* problem, const Options&, KnobValues, std::unique_ptr<Plan>*);
  // Null if there is never anything to prepare. Arguments are checked.
  Status (*prepare)(const Plan&, const void* args, const Call&);
  Status (*run)(const Plan&, const void* args, const Call&);
  // A run that notes who did what when; may allocate and wait. Null: no such variant.
  Status (*trace)(const Plan&, const void* args, const Call&, Trace*);
  // Visits the pieces of a schedule in host memory. Null: no schedule.
  Status (*pieces)(const Plan&, const void* schedule, PieceVisitor);
};

struct Operation {
  const char* name;
  const char* help;
  size_t problem_bytes;
  size_t args_bytes;
  std::span<const Field> problem;
  std::span<const Arg> args;
  std::span<const Field> scalars;   // numbers of the arguments struct
  std::span<const Kernel> kernels;  // in order of preference, the reference last
  // Fills in defaults that depend on other fields, and checks fields against each other; each
  // alone is within its range already.
  Status (*complete)(void* problem);
  // What a run does; called after it succeeded.
  Work (*work)(const void* problem, const Options&, const void* args);
};

inline constexpr size_t kMaxProblemBytes = 512;  // the engine keeps problems in arrays of this size
inline constexpr size_t kMaxKernels = 64;        // of all operations: their counters are static

// A function that a kernel may lack. Not a bare pointer: under UndefinedBehaviorSanitizer GCC does
// not take the comparison of a function's address with null as a constant.
template <typename Signature>
struct MaybeFunction {
  constexpr MaybeFunction() = default;
  constexpr MaybeFunction(Signature* given) : function(given), there(true) {}

  Signature* function = nullptr;
  bool there = false;
};

// The functions of one kernel with the operation's types.
template <typename Problem, typename Args, typename PlanType>
struct KernelFunctions {
  Support (*supports)(const Problem&, const Options&);
  Status (*plan)(const Problem&, const Options&, KnobValues, PlanType*);
  MaybeFunction<Status(const PlanType&, const Args&, const Call&)> prepare = {};
  Status (*run)(const PlanType&, const Args&, const Call&);
  MaybeFunction<Status(const PlanType&, const Args&, const Call&, Trace*)> trace = {};
  MaybeFunction<Status(const PlanType&, const void* schedule, PieceVisitor)> pieces = {};

  using ProblemType = Problem;
  using ArgsType = Args;
  using Planned = PlanType;
};

// The one place where an operation's types are forgotten. `Typed` has its KernelFunctions as
// kFunctions.
template <typename Typed>
constexpr Kernel erase(const KernelFacts& facts) {
  using Functions = std::remove_cv_t<decltype(Typed::kFunctions)>;
  using Problem = typename Functions::ProblemType;
  using Args = typename Functions::ArgsType;
  using Planned = typename Functions::Planned;
  Kernel kernel{};
  static_cast<KernelFacts&>(kernel) = facts;
  kernel.supports = [](const void* problem, const Options& options) {
    return Typed::kFunctions.supports(*static_cast<const Problem*>(problem), options);
  };
  kernel.plan = [](const void* problem, const Options& options, KnobValues knob_values,
                   std::unique_ptr<Plan>* plan) {
    auto made = std::make_unique<Planned>();
    SEESAW_RETURN_IF_ERROR(Typed::kFunctions.plan(*static_cast<const Problem*>(problem), options,
                                                  knob_values, made.get()));
    *plan = std::move(made);
    return Status();
  };
  kernel.run = [](const Plan& plan, const void* args, const Call& call) {
    return Typed::kFunctions.run(static_cast<const Planned&>(plan), *static_cast<const Args*>(args),
                                 call);
  };
  if constexpr (Typed::kFunctions.prepare.there) {
    kernel.prepare = [](const Plan& plan, const void* args, const Call& call) {
      return Typed::kFunctions.prepare.function(static_cast<const Planned&>(plan),
                                                *static_cast<const Args*>(args), call);
    };
  }
  if constexpr (Typed::kFunctions.trace.there) {
    kernel.trace = [](const Plan& plan, const void* args, const Call& call, Trace* trace) {
      return Typed::kFunctions.trace.function(static_cast<const Planned&>(plan),
                                              *static_cast<const Args*>(args), call, trace);
    };
  }
  if constexpr (Typed::kFunctions.pieces.there) {
    kernel.pieces = [](const Plan& plan, const void* schedule, PieceVisitor visitor) {
      return Typed::kFunctions.pieces.function(static_cast<const Planned&>(plan), schedule,
                                               visitor);
    };
  }
  return kernel;
}

// Every operation of the library: src/operations.cpp lists them.
std::span<const Operation* const> operations();

}  // namespace seesaw
