#include "check_grid.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "numbers.hpp"
#include "options.hpp"

namespace seesaw::tools {
namespace {

constexpr std::array<int64_t, 14> kHeads = {1, 3, 7, 8, 9, 16, 32, 63, 64, 65, 96, 126, 127, 128};
constexpr std::array<int64_t, 9> kLengths = {0, 1, 20, 63, 64, 65, 140, 1000, 4096};
constexpr std::array<int64_t, 9> kPageSizes = {1, 2, 3, 16, 61, 64, 128, 480, 1000};
constexpr std::array<std::pair<int64_t, int64_t>, 5> kColumns = {
    {{576, 512}, {512, 512}, {320, 256}, {64, 64}, {40, 24}}};
constexpr std::array<int32_t, 3> kDTypes = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};

CheckCase base_case(uint64_t seed) {
  CheckCase base;
  base.problem.h_q = 16;
  base.problem = complete(base.problem);
  base.seed = seed;
  base.lengths = {1, 300};
  return base;
}

// One axis at a time: what fails here names its cause.
void add_axes(const CheckCase& base, std::vector<CheckCase>* grid) {
  for (const int64_t heads : kHeads) {
    CheckCase item = base;
    item.problem.h_q = heads;
    grid->push_back(item);
  }
  for (const int64_t length : kLengths) {
    CheckCase item = base;
    item.lengths = {length, length};
    grid->push_back(item);
  }
  for (const int64_t page_size : kPageSizes) {
    CheckCase item = base;
    item.problem.page_size = page_size;
    grid->push_back(item);
  }
  for (int64_t s_q = 2; s_q <= 5; ++s_q) {
    CheckCase item = base;
    item.problem.s_q = s_q;
    item.problem.causal = 1;
    item.lengths = {0, 2 * s_q};  // shorter than s_q too: rows with nothing to attend
    grid->push_back(item);
    item.lengths = {100, 200};
    grid->push_back(item);
    item.problem.batch = 4;
    item.lengths = {0, 200};
    item.ragged = true;
    grid->push_back(item);
  }
  CheckCase item = base;
  item.lengths = {0, 1500};
  item.problem.lse_base = SEESAW_LSE_BASE2;
  grid->push_back(item);
  item.problem.lse_base = base.problem.lse_base;
  item.batch_invariant = true;
  grid->push_back(item);
  item.batch_invariant = false;
  item.problem.empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY;
  grid->push_back(item);
  for (const int64_t h_kv : {2, 3}) {
    item = base;
    item.problem.h_kv = h_kv;
    item.problem.h_q = 4 * h_kv;
    grid->push_back(item);
  }
}

void add_formats(const CheckCase& base, std::vector<CheckCase>* grid) {
  for (const int32_t q : kDTypes) {
    for (const int32_t kv : kDTypes) {
      CheckCase item = base;
      item.problem.q_dtype = q;
      item.problem.kv_format = kv;
      grid->push_back(item);
    }
  }
  for (const auto& [d_qk, d_v] : kColumns) {
    CheckCase item = base;
    item.problem.d_qk = d_qk;
    item.problem.d_v = d_v;
    grid->push_back(item);
  }
}

// Values that the suite's are not like, in every dtype, split and whole.
void add_values(const CheckCase& base, std::vector<CheckCase>* grid) {
  for (const NamedValues& named : all_values()) {
    for (const int32_t dtype : kDTypes) {
      CheckCase item = base;
      item.problem.q_dtype = dtype;
      item.problem.kv_format = dtype;
      item.values = named.values;
      item.lengths = {100, 2000};
      grid->push_back(item);
    }
  }
}

// What only shows at length: one sequence over every worker, many heads, many sequences.
void add_large(const CheckCase& base, GridSize size, std::vector<CheckCase>* grid) {
  CheckCase item = base;
  item.problem.batch = 1;
  item.problem.h_q = size == GridSize::kFull ? 128 : 16;
  item.lengths = {8192, 8192};
  grid->push_back(item);
  item.problem.batch = 64;
  item.lengths = {0, 500};
  grid->push_back(item);
  if (size == GridSize::kFull) {
    item = base;
    item.problem.batch = 70000;  // beyond 2^16
    item.problem.h_q = 1;
    item.problem.d_qk = 64;
    item.problem.d_v = 64;
    item.lengths = {0, 3};
    grid->push_back(item);
    item = base;
    item.problem.batch = 1;
    item.problem.h_q = 8;
    item.lengths = {100000, 100000};
    grid->push_back(item);
  }
}

template <typename List>
auto pick(const List& list, Random* random) {
  return list[static_cast<size_t>(random->between(0, static_cast<int64_t>(list.size()) - 1))];
}

CheckCase random_case(const CheckCase& base, Random* random) {
  CheckCase item = base;
  item.problem.batch = random->between(1, 6);
  item.problem.s_q = random->between(1, 4);
  item.problem.h_kv = random->between(0, 9) == 0 ? 2 : 1;
  item.problem.h_q = pick(kHeads, random) * item.problem.h_kv;
  item.problem.page_size = pick(kPageSizes, random);
  item.problem.q_dtype = pick(kDTypes, random);
  item.problem.kv_format = item.problem.q_dtype;
  item.seed = random->bits() >> 16;
  const int64_t longest = pick(kLengths, random);
  item.lengths = {random->between(0, 1) == 0 ? 0 : longest, longest};
  item.problem.causal = random->between(0, 1) == 0 ? 0 : 1;
  item.batch_invariant = random->between(0, 3) == 0;
  item.ragged = random->between(0, 3) == 0;
  item.values = pick(all_values(), random).values;
  if (item.problem.h_q * item.problem.s_q > 256) {  // the reference is slow
    item.lengths.max = std::min<int64_t>(item.lengths.max, 1000);
    item.lengths.min = std::min(item.lengths.min, item.lengths.max);
  }
  return item;
}

}  // namespace

std::string CheckCase::name() const {
  const seesaw_dense_decode_problem& p = problem;
  std::string text = fmt::format("b{} sq{} hq{} hkv{} d{}/{} len{}", p.batch, p.s_q, p.h_q, p.h_kv,
                                 p.d_qk, p.d_v, lengths.min);
  text += lengths.min == lengths.max ? "" : fmt::format("-{}", lengths.max);
  text += fmt::format(" page{} {}", p.page_size, dtypes_text(p));
  text += p.causal != 0 ? " causal" : "";
  text += ragged ? " ragged" : "";
  text += values == Values::kSuite ? "" : fmt::format(" {}", name_of(values));
  text += batch_invariant ? " batch-invariant" : "";
  text += p.lse_base == SEESAW_LSE_BASE2 ? " lse2" : "";
  text += p.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY ? " empty+inf" : "";
  return text;
}

std::vector<CheckCase> check_grid(GridSize size, uint64_t seed) {
  std::vector<CheckCase> grid;
  const CheckCase base = base_case(seed);
  add_axes(base, &grid);
  add_formats(base, &grid);
  add_values(base, &grid);
  if (size != GridSize::kQuick) {
    add_large(base, size, &grid);
  }
  const int combinations = size == GridSize::kQuick ? 10 : size == GridSize::kNormal ? 100 : 1000;
  Random random(seed);
  for (int i = 0; i < combinations; ++i) {
    grid.push_back(random_case(base, &random));
  }
  return grid;
}

}  // namespace seesaw::tools
