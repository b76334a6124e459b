#include "layers/call.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "base/math.hpp"
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

const char* name_of(int32_t dtype) {
  constexpr const char* kNames[] = {"unknown", "float32", "bfloat16", "float16",
                                    "int32",   "int64",   "uint8"};
  return dtype >= SEESAW_FLOAT32 && dtype <= SEESAW_UINT8 ? kNames[dtype] : kNames[0];
}

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
    return bad_type(
        fmt::format("{} has dtype {} ({})", wanted.name, tensor.dtype, name_of(tensor.dtype)),
        name_of(wanted.dtype), "Convert it.");
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
  if (b * args.x.shape[1] > (int64_t{1} << 31)) {
    return bad(fmt::format("{} sequences of {} new tokens", b, args.x.shape[1]), "2^31 rows",
               "Cut the call.");
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
    const int64_t pages = ceil_div(length, page_size);
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

// What a wrapper of libseesaw's throws, as a Status with our own beginning.
template <typename Body>
Status status_of(Body&& body) {
  try {
    body();
    return {};
  } catch (const Error& error) {
    const std::string message = fmt::format("{}: {}", kWhere, error.what());
    switch (error.status()) {
      case SEESAW_INVALID_ARGUMENT:
        return invalid_argument(message);
      case SEESAW_INVALID_TYPE:
        return invalid_type(message);
      case SEESAW_NOT_SUPPORTED:
        return not_supported(message);
      default:
        return {StatusCode::kInternalError, message};
    }
  }
}

// [b, 1, s, h c] from column `begin` of each head on, `columns` of them: [b, s, h, columns].
seesaw_tensor heads_of(const View& view, int64_t heads, int64_t begin, int64_t columns) {
  seesaw_tensor t = make_tensor(static_cast<char*>(view.data) + begin * size_of(view.dtype),
                                static_cast<seesaw_dtype>(view.dtype),
                                {view.shape[0], view.shape[2], heads, columns});
  t.stride[0] = view.stride[0];
  t.stride[1] = view.stride[2];
  t.stride[2] = view.shape[3] / heads;
  return t;
}

// The same with the tokens of all sequences in one dimension, of a packed view: [b s, h, columns].
seesaw_tensor all_tokens(seesaw_tensor t) {
  const int64_t tokens = t.shape[0] * t.shape[1];
  for (int i = 1; i < 3; ++i) {
    t.shape[i] = t.shape[i + 1];
    t.stride[i - 1] = t.stride[i];
    t.stride[i] = t.stride[i + 1];
  }
  t.shape[0] = tokens;
  t.rank = 3;
  return t;
}

// Without the dimension of heads, which is 1.
seesaw_tensor without_heads(seesaw_tensor t) {
  const auto last = static_cast<size_t>(t.rank - 1);
  t.shape[last - 1] = t.shape[last];
  t.stride[last - 1] = t.stride[last];
  --t.rank;
  return t;
}

template <typename T>
seesaw_tensor vector_of(const std::vector<T>& values, seesaw_dtype dtype) {
  return make_tensor(values.data(), dtype, {static_cast<int64_t>(values.size())});
}

seesaw_append_args append_args(const LayerCall& call, const View& latent, const View& q) {
  const Problem& p = call.problem;
  return {.c_kv = without_heads(all_tokens(heads_of(latent, 1, 0, p.d_latent))),
          .k_rope = without_heads(all_tokens(heads_of(latent, 1, p.d_latent, p.d_rope))),
          .slot_mapping = vector_of(call.slots, SEESAW_INT64),
          .kv_cache = without_heads(call.args.kv_cache),
          .kv_scale = call.args.kv_scale,
          .positions = vector_of(call.rows, SEESAW_INT64),
          .cos_sin = make_tensor(call.cos_sin.data(), SEESAW_FLOAT32, {call.tokens(), p.d_rope}),
          .q_rope = all_tokens(heads_of(q, p.num_heads, p.d_nope, p.d_rope))};
}

seesaw_dense_decode_args decode_args(const LayerCall& call, const View& q_latent, const View& q,
                                     const View& out) {
  const Problem& p = call.problem;
  return {.q = heads_of(q_latent, p.num_heads, 0, p.d_latent),
          .kv_cache = call.args.kv_cache,
          .block_table = call.args.block_table,
          .seq_lens = vector_of(call.lengths, SEESAW_INT32),
          .out = heads_of(out, p.num_heads, 0, p.d_latent),
          .scale = p.scale,
          .kv_scale = call.args.kv_scale,
          .q_rotary = heads_of(q, p.num_heads, p.d_nope, p.d_rope)};
}

seesaw_gather_args gather_args(const LayerCall& call, int64_t i, const std::vector<int32_t>& ends,
                               const View& rows) {
  seesaw_tensor table = call.args.block_table;
  table.data = static_cast<int32_t*>(table.data) + i * table.stride[0];
  table.shape[0] = 1;
  return {.kv_cache = without_heads(call.args.kv_cache),
          .block_table = table,
          .cu_seq_lens = vector_of(ends, SEESAW_INT32),
          .kv_scale = call.args.kv_scale,
          .out = make_tensor(rows.data, static_cast<seesaw_dtype>(rows.dtype),
                             {rows.shape[2], rows.shape[3]})};
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

seesaw_call Operations::memory() const {
  return {.schedule = schedule_.data(),
          .schedule_bytes = schedule_.size(),
          .workspace = workspace_.data(),
          .workspace_bytes = workspace_.size()};
}

Status Operations::plan(const LayerCall& call, Operations* operations) {
  const Problem& p = call.problem;
  const seesaw_options options{.num_threads = p.num_threads};
  // Problems are made of shapes and strides: addresses say no more than that there is something.
  void* const something = call.x.data;
  const View latent = packed(something, p.dtype, {p.batch, 1, p.tokens, p.d_latent + p.d_rope});
  const View q = packed(something, p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_qk()});
  const View q_latent =
      packed(something, p.dtype, {p.batch, 1, p.tokens, p.num_heads * p.d_latent});
  return status_of([&] {
    operations->append_.emplace(
        Append::problem_of(
            append_args(call, latent, q),
            {.kv_format = call.args.kv_format,
             .rotary = call.interleaved ? SEESAW_ROTARY_INTERLEAVED : SEESAW_ROTARY_HALF_SPLIT}),
        options);
    size_t workspace = operations->append_->workspace_bytes();
    if (call.form == Form::kAbsorbed) {
      const seesaw_dense_decode_args args = decode_args(call, q_latent, q, q_latent);
      operations->decode_.emplace(
          DenseDecode::problem_of(args, {.kv_format = call.args.kv_format, .causal = 1}), options);
      workspace = std::max(workspace, operations->decode_->workspace_bytes());
      operations->schedule_ = AlignedBuffer(operations->decode_->schedule_bytes());
      operations->decode_->prepare(args, operations->memory());
    } else {
      const int64_t longest = *std::max_element(call.lengths.begin(), call.lengths.end());
      const View rows =
          packed(something, p.dtype, {1, 1, std::max<int64_t>(longest, 1), p.d_latent + p.d_rope});
      operations->gather_.emplace(Gather::problem_of(gather_args(call, 0, {0, 0}, rows),
                                                     {.kv_format = call.args.kv_format}),
                                  options);
      workspace = std::max(workspace, operations->gather_->workspace_bytes());
    }
    operations->workspace_ = AlignedBuffer(workspace);
  });
}

Status Operations::append(const LayerCall& call, const View& latent, const View& q) const {
  return status_of([&] { append_->run(append_args(call, latent, q), memory()); });
}

Status Operations::attend(const LayerCall& call, const View& q_latent, const View& q,
                          const View& out) const {
  return status_of([&] { decode_->run(decode_args(call, q_latent, q, out), memory()); });
}

Status Operations::gather(const LayerCall& call, int64_t i, const View& rows) const {
  const std::vector<int32_t> ends = {0, static_cast<int32_t>(rows.shape[2])};
  return status_of([&] { gather_->run(gather_args(call, i, ends, rows), memory()); });
}

}  // namespace seesaw::layers
