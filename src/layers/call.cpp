#include "layers/call.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/checked.hpp"
#include "boundary/dtype_name.hpp"
#include "layers/form.hpp"
#include "layers/refusal.hpp"

namespace seesaw::layers {
namespace {

using baselines::DType;
using baselines::Problem;
using baselines::View;

// What a tensor of a call has to look like; -1: any size, 1 or more.
struct Wanted {
  const char* name;
  const char* shape;  // in words
  std::initializer_list<int64_t> sizes;
  int32_t dtype;  // 0: any
};

Status check_tensor(const Wanted& wanted, const seesaw_tensor& tensor) {
  if (tensor.data == nullptr) {
    return bad(fmt::format("{} is missing", wanted.name), wanted.shape, "Pass its address.");
  }
  if (tensor.device.type == SEESAW_CUDA) {
    return not_supported(four_part_message(
        kWhere, fmt::format("{} on a GPU", wanted.name), "tensors on the CPU",
        "Copy it to the host, or use seesaw.layers of the Python package, which runs on GPUs."));
  }
  const auto rank = static_cast<int32_t>(wanted.sizes.size());
  const auto fits = [](int64_t size, int64_t given) {
    return size < 0 ? given >= 1 : size == given;
  };
  if (tensor.rank != rank ||
      !std::equal(wanted.sizes.begin(), wanted.sizes.end(), tensor.shape, fits)) {
    const int32_t shown = std::clamp(tensor.rank, 0, SEESAW_MAX_RANK);
    return bad(fmt::format("{} has shape [{}]", wanted.name,
                           fmt::join(tensor.shape, tensor.shape + shown, ", ")),
               wanted.shape, "Reshape it.");
  }
  if (wanted.dtype != 0 && tensor.dtype != wanted.dtype) {
    return bad_type(fmt::format("{} has dtype {}", wanted.name, dtype_name(tensor.dtype)),
                    dtype_name(wanted.dtype), "Convert it.");
  }
  return {};
}

// Rows that do not overlap, columns side by side.
Status check_rows(const char* name, const seesaw_tensor& t) {
  const bool columns = t.stride[2] == 1 || t.shape[2] == 1;
  const bool rows = t.stride[1] >= t.shape[2] || t.shape[1] == 1;
  const bool sequences = t.stride[0] >= t.shape[2] || t.shape[0] == 1;
  if (columns && rows && sequences) {
    return {};
  }
  return bad(
      fmt::format("{} with strides [{}, {}, {}]", name, t.stride[0], t.stride[1], t.stride[2]),
      fmt::format("[n, m, 1], n and m at least {}", t.shape[2]), "Make it contiguous.");
}

View view_of(const seesaw_tensor& t) {
  return {t.data,
          static_cast<DType>(t.dtype),
          {t.shape[0], 1, t.shape[1], t.shape[2]},
          {t.stride[0], 0, t.stride[1], 1}};
}

template <typename T>
T at(const seesaw_tensor& t, int64_t i, int64_t j = 0) {
  const int64_t offset = t.rank == 1 ? i * t.stride[0] : i * t.stride[0] + j * t.stride[1];
  return static_cast<const T*>(t.data)[offset];
}

Status check_shapes(const seesaw_mla_layer_args& args, const Problem& layer) {
  const auto dtype = static_cast<int32_t>(layer.dtype);
  const int64_t columns = layer.d_model;
  SEESAW_RETURN_IF_ERROR(check_tensor({"x", "[b, s, d_model]", {-1, -1, columns}, dtype}, args.x));
  SEESAW_RETURN_IF_ERROR(check_rows("x", args.x));
  const int64_t b = args.x.shape[0];
  SEESAW_RETURN_IF_ERROR(
      check_tensor({"out", "the shape of x", {b, args.x.shape[1], columns}, dtype}, args.out));
  SEESAW_RETURN_IF_ERROR(check_rows("out", args.out));
  SEESAW_RETURN_IF_ERROR(check_tensor(
      {"kv_cache", "[num_pages, page_size, 1, columns]", {-1, -1, 1, -1}, 0}, args.kv_cache));
  SEESAW_RETURN_IF_ERROR(check_tensor(
      {"block_table", "[b, max_pages_per_sequence]", {b, -1}, SEESAW_INT32}, args.block_table));
  SEESAW_RETURN_IF_ERROR(check_tensor({"seq_lens", "[b]", {b}, SEESAW_INT32}, args.seq_lens));
  int64_t count = 0;
  if (!checked_mul(b, args.x.shape[1], &count) || count > (int64_t{1} << 31)) {
    return bad(fmt::format("{} sequences of {} new tokens", b, args.x.shape[1]), "2^31 rows",
               "Cut the call.");
  }
  if (!checked_mul(args.kv_cache.shape[0], args.kv_cache.shape[1], &count)) {
    return bad(fmt::format("kv_cache of {} pages of {} tokens", args.kv_cache.shape[0],
                           args.kv_cache.shape[1]),
               "less than 2^63 tokens", "Correct its shape.");
  }
  if (args.block_table.stride[1] != 1 && args.block_table.shape[1] != 1) {
    return bad(fmt::format("block_table with strides [{}, {}]", args.block_table.stride[0],
                           args.block_table.stride[1]),
               "[n, 1]", "Make its rows contiguous.");
  }
  if (args.form < SEESAW_MLA_AUTO || args.form > SEESAW_MLA_EXPANDED) {
    return bad(fmt::format("form = {}", args.form), "0 (auto), 1 (absorbed), 2 (expanded)",
               "Set one of enum seesaw_mla_form.");
  }
  if (args.kv_format == 0 && args.kv_cache.dtype == SEESAW_UINT8) {
    return bad("kv_format = 0 with a cache of bytes", "a format of bytes (enum seesaw_format)",
               "Set the format that the cache has.");
  }
  return {};
}

// Lengths, and every page that the call reads or writes.
Status check_places(const seesaw_mla_layer_args& args, std::vector<int32_t>* lengths) {
  const int64_t page_size = args.kv_cache.shape[1];
  const int64_t most_pages = args.block_table.shape[1];
  for (int64_t i = 0; i < args.x.shape[0]; ++i) {
    const int64_t length = std::max(at<int32_t>(args.seq_lens, i), 0);
    const int64_t pages = length / page_size + (length % page_size == 0 ? 0 : 1);
    if (pages > most_pages) {
      return bad(
          fmt::format("seq_lens[{}] = {} with {} pages of {}", i, length, most_pages, page_size),
          fmt::format("0 to {}", most_pages * page_size),
          "Give the sequence more pages before the call.");
    }
    for (int64_t j = 0; j < pages; ++j) {
      const int32_t page = at<int32_t>(args.block_table, i, j);
      if (page < 0 || page >= args.kv_cache.shape[0]) {
        return bad(fmt::format("block_table[{}, {}] = {}", i, j, page),
                   fmt::format("0 to {}", args.kv_cache.shape[0] - 1), "Correct the block table.");
      }
    }
    lengths->push_back(static_cast<int32_t>(length));
  }
  return {};
}

// Slot, rotation and row of cos_sin of row n of sequence i.
void place_token(LayerCall* call, int64_t i, int64_t n) {
  const Problem& p = call->problem;
  const int64_t page_size = call->args.kv_cache.shape[1];
  const int64_t position = call->lengths[static_cast<size_t>(i)] - p.tokens + n;
  call->rows.push_back(i * p.tokens + n);
  call->slots.push_back(
      position < 0 ? -1
                   : at<int32_t>(call->args.block_table, i, position / page_size) * page_size +
                         position % page_size);
  const int64_t pairs = p.d_rope / 2;
  float* cosines = call->cos_sin.data() + call->rows.back() * p.d_rope;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const double angle =
        static_cast<double>(position) * baselines::frequency_of(p.rope, pair, pairs);
    cosines[pair] = static_cast<float>(p.rope.amplitude * std::cos(angle));
    cosines[pairs + pair] = static_cast<float>(p.rope.amplitude * std::sin(angle));
  }
}

Form choose(const LayerCall& call) {
  if (call.args.form != SEESAW_MLA_AUTO) {
    return call.args.form == SEESAW_MLA_EXPANDED ? Form::kExpanded : Form::kAbsorbed;
  }
  double gain = 0.0;
  for (int64_t i = 0; i < call.problem.batch; ++i) {
    const int64_t fresh = call.new_tokens(i);
    gain += gain_of_expanding(call.problem, fresh, call.lengths[static_cast<size_t>(i)] - fresh);
  }
  return gain > 0.0 ? Form::kExpanded : Form::kAbsorbed;
}

}  // namespace

int64_t LayerCall::new_tokens(int64_t i) const {
  return std::min<int64_t>(lengths[static_cast<size_t>(i)], problem.tokens);
}

Status read_call(const seesaw_mla_layer_args& args, const Problem& layer, bool interleaved,
                 LayerCall* call) {
  SEESAW_RETURN_IF_ERROR(check_shapes(args, layer));
  SEESAW_RETURN_IF_ERROR(check_places(args, &call->lengths));
  call->problem = layer;
  call->problem.batch = args.x.shape[0];
  call->problem.tokens = args.x.shape[1];
  call->interleaved = interleaved;
  call->args = args;
  call->x = view_of(args.x);
  call->out = view_of(args.out);
  call->form = choose(*call);
  call->cos_sin.resize(static_cast<size_t>(call->tokens() * layer.d_rope));
  for (int64_t i = 0; i < call->problem.batch; ++i) {
    for (int64_t n = 0; n < call->problem.tokens; ++n) {
      place_token(call, i, n);
    }
  }
  return {};
}

}  // namespace seesaw::layers
