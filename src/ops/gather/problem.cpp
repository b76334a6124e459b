// What the tables cannot say: fields of the problem against each other, tensors against each other,
// and data in host memory.
#include "ops/gather/problem.hpp"

#include <string_view>

#include "base/message.hpp"
#include "core/cache_shape.hpp"

namespace seesaw::gather {
namespace {

constexpr const char* kWhere = "gather";
constexpr int64_t kDefaultColumns = 576;

Status bad(std::string_view arrived, std::string_view allowed, std::string_view remedy) {
  return invalid_argument(four_part_message(kWhere, arrived, allowed, remedy));
}

Status complete_columns(Problem* problem) {
  if (is_plain(problem->kv_format)) {  // as many as there are
    const int64_t told = problem->kv_columns == 0 ? kDefaultColumns : problem->kv_columns;
    problem->columns = problem->columns == 0 ? told : problem->columns;
    return {};
  }
  const CacheFormat format = problem->format();
  problem->columns = problem->columns == 0 ? format.columns() : problem->columns;
  return problem->columns == format.columns()
             ? Status()
             : bad(fmt::format("columns = {} with format {}", problem->columns, format.name),
                   fmt::format("{}, the format's columns", format.columns()),
                   "Leave columns 0, or choose another format.");
}

Status complete_cache(Problem* problem) {
  CacheShape shape = {.page_size = problem->page_size,
                      .columns = problem->kv_columns,
                      .page_stride = problem->kv_page_stride,
                      .token_stride = problem->kv_token_stride};
  SEESAW_RETURN_IF_ERROR(complete_cache_shape(kWhere, problem->format(), &shape));
  problem->kv_columns = shape.columns;
  problem->kv_page_stride = shape.page_stride;
  problem->kv_token_stride = shape.token_stride;
  return {};
}

Status complete_out(Problem* problem) {
  const CacheFormat format = problem->format();
  if (problem->out_dtype == 0) {
    problem->out_dtype = static_cast<int32_t>(storage_of(problem->kv_format));
  }
  const bool bytes = problem->out_type() == DType::kUInt8;
  if (bytes && is_plain(problem->kv_format)) {
    return invalid_type(four_part_message(
        kWhere, fmt::format("out_dtype = uint8 with format {}", format.name),
        "float32, bfloat16 or float16", "Rows of this format are copied with its own dtype."));
  }
  const int64_t columns = bytes ? format.row_bytes + format.tail_bytes : problem->columns;
  problem->out_columns = problem->out_columns == 0 ? columns : problem->out_columns;
  return problem->out_columns == columns
             ? Status()
             : bad(fmt::format("out_columns = {} with format {}", problem->out_columns,
                               format.name),
                   fmt::format("{}: {}", columns,
                               bytes ? "bytes of a token, its scales included" : "its columns"),
                   "Give out a last dimension of that size.");
}

// Whether there is a block table. One without elements may have any address, NULL too.
bool has_table(const Args& args) {
  const Tensor& table = args.block_table;
  return table.data != nullptr || (table.rank == 2 && (table.shape[0] == 0 || table.shape[1] == 0));
}

Status check_paged_call(const Args& args) {
  const bool table = has_table(args);
  if (!table || !by_pages(args)) {
    return bad(table ? "block_table without cu_seq_lens" : "no block_table",
               "block_table with cu_seq_lens, or slots alone",
               "Pass the pages of each sequence, and where in out its rows begin.");
  }
  const int64_t batch = args.block_table.shape[0];  // any number, of a table without elements
  const int64_t bounds = args.cu_seq_lens.shape[0];
  return batch >= 0 && bounds - 1 == batch
             ? Status()
             : bad(fmt::format("cu_seq_lens has shape [{}] and block_table {} rows", bounds, batch),
                   "b + 1 numbers for b rows",
                   "Pass the first row of each sequence, and the end of the last.");
}

// One sequence: its rows of out, and its pages.
Status check_sequence(const Problem& problem, const Args& args, int64_t sequence) {
  const int64_t begin = entry(args.cu_seq_lens, sequence);
  const int64_t end = entry(args.cu_seq_lens, sequence + 1);
  if (end < begin) {
    return bad(fmt::format("cu_seq_lens[{}] = {}", sequence + 1, end),
               fmt::format("{} (cu_seq_lens[{}]) or more", begin, sequence),
               "Pass sums of the lengths, which never fall.");
  }
  const int64_t start = start_of(args, sequence);
  if (start < 0) {
    return bad(fmt::format("starts[{}] = {}", sequence, start), "0 or more",
               "Pass the first token to gather of each sequence.");
  }
  if (end == begin) {
    return {};
  }
  const int64_t tokens = start + end - begin;
  const int64_t columns = args.block_table.shape[1];
  const int64_t last = (tokens - 1) / problem.page_size;
  if (last >= columns) {
    return bad(fmt::format("sequence {} has {} tokens from {} on", sequence, end - begin, start),
               fmt::format("tokens below {} ({} columns of block_table, pages of {})",
                           columns * problem.page_size, columns, problem.page_size),
               "Correct the length or the start, or widen the block table.");
  }
  const int64_t num_pages = args.kv_cache.shape[0];
  for (int64_t column = start / problem.page_size; column <= last; ++column) {
    const int64_t id = place_of_token(problem, args, sequence, column * problem.page_size).page;
    if (id < 0 || id >= num_pages) {
      return bad(fmt::format("block_table[{}, {}] = {}", sequence, column, id),
                 fmt::format("0 to {} (num_pages - 1), as sequence {} has tokens {} to {}",
                             num_pages - 1, sequence, start, tokens - 1),
                 "Correct the page id or the length.");
    }
  }
  return {};
}

}  // namespace

Status complete(Problem* problem) {
  SEESAW_RETURN_IF_ERROR(complete_columns(problem));
  SEESAW_RETURN_IF_ERROR(complete_cache(problem));
  return complete_out(problem);
}

Status plan(const Problem& problem, const Options& options, KnobValues, GatherPlan* plan) {
  plan->problem = problem;
  plan->options = options;
  plan->format = problem.format();
  return {};
}

Status check_call(const Args& args) {
  const bool paged =
      args.block_table.data != nullptr || by_pages(args) || args.starts.data != nullptr;
  if (paged == by_slots(args) && (paged || rows_of(args) > 0)) {
    return bad(paged ? "slots and tensors of a block table" : "neither slots nor block_table",
               "slots alone, or block_table with cu_seq_lens",
               "Say in one of the two ways which tokens to gather.");
  }
  if (args.kv_scale.data != nullptr && args.kv_scale.shape[0] != 1) {
    return bad(fmt::format("kv_scale has shape [{}]", args.kv_scale.shape[0]), "[1]",
               "Pass the one scale of the cache.");
  }
  return paged ? check_paged_call(args) : Status();
}

Status check_pages(const Problem& problem, const Args& args) {
  if (!by_pages(args)) {
    return {};
  }
  if (const int64_t first = entry(args.cu_seq_lens, 0); first != 0) {
    return bad(fmt::format("cu_seq_lens[0] = {}", first), "0",
               "Pass the first row of each sequence, beginning with 0.");
  }
  for (int64_t i = 0; i < batch_of(args); ++i) {
    SEESAW_RETURN_IF_ERROR(check_sequence(problem, args, i));
  }
  const int64_t end = entry(args.cu_seq_lens, batch_of(args));
  return end <= rows_of(args) ? Status()
                              : bad(fmt::format("cu_seq_lens[{}] = {}", batch_of(args), end),
                                    fmt::format("0 to {}, the rows of out", rows_of(args)),
                                    "Pass an out of as many rows, or fewer tokens.");
}

Work work_of(const Problem& problem, const Options& options, const Args& args) {
  // Unsigned, so that a product beyond 2^64 wraps; no memory holds that many bytes.
  const auto number = [](int64_t size) { return static_cast<uint64_t>(size); };
  const CacheFormat format = problem.format();
  const uint64_t record_bytes = number(format.row_bytes + format.tail_bytes);
  const bool on_host = on_cpu(options.device);
  const uint64_t rows = number(on_host ? rows_written(args) : rows_of(args));
  Work work;
  work.sequences = number(batch_of(args));
  work.tensor_bytes = rows * number(problem.out_row_bytes());
  work.kv_bytes_planned = number(rows_of(args)) * record_bytes;
  if (on_host) {
    work.kv_tokens = rows;
    work.kv_bytes = rows * record_bytes;
  }
  return work;
}

Support supports_cpu(const Problem&, const Options&) { return Support::yes(); }

}  // namespace seesaw::gather
