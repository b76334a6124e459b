#include "engine/structs.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/message.hpp"
#include "boundary/sized.hpp"
#include "ops/dense_decode/validate.hpp"

namespace seesaw::engine {
namespace {

constexpr const char* kWhere = "dense_decode";

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status read_dtype(const char* name, int32_t from, DType* to) {
  if (from < SEESAW_FLOAT32 || from > SEESAW_INT32) {
    return bad(fmt::format("{} has dtype {}", name, from),
               "SEESAW_FLOAT32, SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_INT32",
               "Set one of enum seesaw_dtype.");
  }
  *to = static_cast<DType>(from);
  return {};
}

Status read_device(const char* name, const seesaw_device& from, Device* to) {
  const bool known = from.type == SEESAW_CPU || from.type == SEESAW_CUDA;
  if (!known || from.index < 0 || (from.type == SEESAW_CPU && from.index != 0)) {
    return bad(fmt::format("{} has device type {}, index {}", name, from.type, from.index),
               "{SEESAW_CPU, 0} or {SEESAW_CUDA, ordinal}", "Set the device of the memory.");
  }
  *to = {static_cast<DeviceType>(from.type), from.index};
  return {};
}

bool environment_asks_for_checks() {
  const char* value = std::getenv("SEESAW_CHECK");
  return value != nullptr && std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
}

// The tuning that the caller names, else the environment.
std::string tuning_of(const char* given) {
  const char* wanted = given != nullptr ? given : std::getenv("SEESAW_TUNE_FILE");
  return wanted == nullptr || std::strcmp(wanted, "none") == 0 ? "" : wanted;
}

Status read_flags(uint32_t flags, DenseDecodeProblem* to) {
  constexpr uint32_t kKnown = SEESAW_CAUSAL | SEESAW_LSE_BASE2 |
                              SEESAW_LSE_EMPTY_IS_POSITIVE_INFINITY | SEESAW_BATCH_INVARIANT |
                              SEESAW_CHECK_DATA;
  if ((flags & ~kKnown) != 0) {
    return bad(fmt::format("flags = {:#x}", flags), fmt::format("bits of {:#x}", kKnown),
               "Clear the unknown bits, or use a newer library.");
  }
  to->mask = (flags & SEESAW_CAUSAL) ? Mask::kCausal : Mask::kFull;
  to->lse_base = (flags & SEESAW_LSE_BASE2) ? LseBase::kTwo : LseBase::kNatural;
  to->empty_lse = (flags & SEESAW_LSE_EMPTY_IS_POSITIVE_INFINITY) ? EmptyLse::kPositiveInfinity
                                                                  : EmptyLse::kNegativeInfinity;
  to->splits = (flags & SEESAW_BATCH_INVARIANT) ? Splits::kBatchInvariant : Splits::kBalanced;
  to->check_data = (flags & SEESAW_CHECK_DATA) || environment_asks_for_checks();
  return {};
}

}  // namespace

Status read_problem(const seesaw_dense_decode_problem* from, DenseDecodeProblem* to) {
  seesaw_dense_decode_problem given;
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_dense_decode_problem", from, &given));
  SEESAW_RETURN_IF_ERROR(read_device("the problem", given.device, &to->device));
  SEESAW_RETURN_IF_ERROR(read_dtype("q", given.q_dtype, &to->q_dtype));
  SEESAW_RETURN_IF_ERROR(read_dtype("kv_cache", given.kv_dtype, &to->kv_dtype));
  SEESAW_RETURN_IF_ERROR(read_flags(given.flags, to));
  to->batch = given.batch;
  to->s_q = given.s_q;
  to->h_q = given.h_q;
  to->h_kv = given.h_kv;
  to->d_qk = given.d_qk;
  to->d_v = given.d_v;
  to->page_size = given.page_size;
  to->max_pages_per_sequence = given.max_pages_per_sequence;
  to->kv_page_stride = given.kv_page_stride;
  to->kv_token_stride = given.kv_token_stride;
  to->kv_head_stride = given.kv_head_stride;
  to->num_threads = given.num_threads;
  to->kernel = given.kernel == nullptr ? "" : given.kernel;
  to->tuning = tuning_of(given.tuning);
  SEESAW_RETURN_IF_ERROR(resolve_strides(*to));
  SEESAW_RETURN_IF_ERROR(validate_problem(*to));
  if (to->num_threads == 0) {
    to->num_threads = omp_get_max_threads();
  }
  return {};
}

Status read_tensor(const char* name, const seesaw_tensor& from, TensorView* to) {
  if (from.rank < 0 || from.rank > kMaxRank) {
    return bad(fmt::format("{} has rank {}", name, from.rank), fmt::format("0 to {}", kMaxRank),
               "Set rank to the number of dimensions.");
  }
  to->data = from.data;
  to->rank = from.rank;
  std::copy(from.shape, from.shape + from.rank, to->shape.begin());
  std::copy(from.stride, from.stride + from.rank, to->stride.begin());
  SEESAW_RETURN_IF_ERROR(read_dtype(name, from.dtype, &to->dtype));
  return read_device(name, from.device, &to->device);
}

Status read_arguments(const seesaw_dense_decode_args* from, DenseDecodeArguments* to,
                      CallBuffers* buffers) {
  seesaw_dense_decode_args given;
  SEESAW_RETURN_IF_ERROR(read_sized(kWhere, "seesaw_dense_decode_args", from, &given));
  SEESAW_RETURN_IF_ERROR(read_tensor("q", given.q, &to->q));
  SEESAW_RETURN_IF_ERROR(read_tensor("kv_cache", given.kv_cache, &to->kv_cache));
  SEESAW_RETURN_IF_ERROR(read_tensor("block_table", given.block_table, &to->block_table));
  SEESAW_RETURN_IF_ERROR(read_tensor("seq_lens", given.seq_lens, &to->seq_lens));
  SEESAW_RETURN_IF_ERROR(read_tensor("out", given.out, &to->out));
  if (given.lse.data != nullptr) {
    SEESAW_RETURN_IF_ERROR(read_tensor("lse", given.lse, &to->lse));
  }
  if (given.reserved != 0) {
    return bad(fmt::format("reserved = {}", given.reserved), "0", "Zero the struct first.");
  }
  to->batch = to->seq_lens.rank == 1 ? to->seq_lens.shape[0] : 0;
  to->scale = given.scale;
  to->schedule = given.schedule;
  to->workspace = given.workspace;
  to->stream = given.stream;
  *buffers = {given.schedule_bytes, given.workspace_bytes};
  return {};
}

Status write_plan_info(const seesaw_dense_decode_plan_info& from,
                       seesaw_dense_decode_plan_info* to) {
  return write_sized(kWhere, "seesaw_dense_decode_plan_info", from, to);
}

}  // namespace seesaw::engine
