#include "sparse_cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "describe.hpp"
#include "lab/cache_records.hpp"
#include "lab/random.hpp"
#include "numbers.hpp"

namespace seesaw::tools {
namespace {

constexpr std::array<int64_t, 8> kTopks = {1, 2, 63, 64, 65, 200, 1000, 2048};
constexpr std::array<int64_t, 7> kHeads = {1, 2, 7, 16, 17, 64, 128};
constexpr std::array<int64_t, 5> kPageSizes = {1, 2, 16, 61, 64};
constexpr std::array<int32_t, 3> kDTypes = {SEESAW_BFLOAT16, SEESAW_FLOAT16, SEESAW_FLOAT32};
constexpr int64_t kPoolTokens = 600;

template <typename List>
auto pick(const List& list, Random* random) {
  return list[static_cast<size_t>(random->between(0, static_cast<int64_t>(list.size()) - 1))];
}

// Formats of bytes that the operation reads.
std::vector<FormatFacts> byte_formats(bool prefill) {
  std::vector<FormatFacts> formats = description().formats;
  std::erase_if(formats,
                [&](const FormatFacts& format) { return prefill && format.tail_bytes > 0; });
  return formats;
}

class Grid {
 public:
  Grid(bool prefill, uint64_t seed) : prefill_(prefill) {
    base_.cache.topk = 200;
    base_.strangers = Strangers::kAnything;
    base_.seed = seed;
  }

  // One axis at a time: what fails here names its cause.
  void add_axes() {
    for (const int64_t topk : kTopks) {
      add([&](SparseSpec& spec) { spec.cache.topk = topk; });
    }
    for (const int64_t heads : kHeads) {
      add([&](SparseSpec& spec) { spec.h_q = heads; });
    }
    if (!prefill_) {
      for (const int64_t page_size : kPageSizes) {
        add([&](SparseSpec& spec) { spec.cache.page_size = page_size; });
      }
      for (int64_t s_q = 2; s_q <= 5; ++s_q) {
        add([&](SparseSpec& spec) { spec.s_q = s_q; });
      }
    }
    for (const double share : {0.0, 0.9, 1.0}) {
      add([&](SparseSpec& spec) { spec.stranger_share = share; });
    }
    add([](SparseSpec& spec) { spec.cache.lengths = {0, 33}; });
    add([](SparseSpec& spec) { spec.sinks = sinks_of(spec.h_q); });
    add([](SparseSpec& spec) { spec.lse_base = SEESAW_LSE_BASE2; });
    add([](SparseSpec& spec) {
      spec.cache.lengths = {0, 200};
      spec.empty_lse = SEESAW_EMPTY_LSE_POSITIVE_INFINITY;
    });
    add([](SparseSpec& spec) {
      spec.cache.topk = 1500;
      spec.batch_invariant = true;
    });
  }

  void add_formats() {
    for (const int32_t q : kDTypes) {
      for (const int32_t kv : kDTypes) {
        add([&](SparseSpec& spec) {
          spec.q_dtype = q;
          spec.cache.format = kv;
        });
      }
    }
    for (const FormatFacts& format : byte_formats(prefill_)) {
      add([&](SparseSpec& spec) { set_format(&spec, format); });
    }
    for (const FormatFacts& format : byte_formats(prefill_)) {
      if (prefill_) {
        break;
      }
      add([&](SparseSpec& spec) {  // beside itself, and beside numbers
        set_format(&spec, format);
        spec.extra = spec.cache;
        spec.extra.page_size = 2;
        spec.extra.lengths = {100, 7};
      });
      add([&](SparseSpec& spec) {
        set_format(&spec, format);
        spec.extra = spec.cache;
        spec.extra.format = SEESAW_BFLOAT16;
        spec.sinks = sinks_of(spec.h_q);
      });
    }
  }

  // Values that the suite's are not like, in every dtype.
  void add_values() {
    for (const NamedValues& named : all_values()) {
      for (const int32_t dtype : kDTypes) {
        add([&](SparseSpec& spec) {
          spec.q_dtype = dtype;
          spec.cache.format = dtype;
          spec.values = named.values;
          spec.cache.topk = 1000;
        });
      }
    }
  }

  // What only shows at length, and with many sequences.
  void add_large(GridSize size) {
    add([&](SparseSpec& spec) {
      spec.batch = 1;
      spec.h_q = size == GridSize::kFull ? 128 : 16;
      spec.cache.topk = 8192;
    });
    add([](SparseSpec& spec) { spec.batch = 64; });
  }

  void add_random(Random* random) {
    add([&](SparseSpec& spec) {
      spec.batch = random->between(1, 6);
      spec.s_q = prefill_ ? 1 : random->between(1, 4);
      spec.h_q = pick(kHeads, random);
      spec.q_dtype = pick(kDTypes, random);
      spec.cache.format = spec.q_dtype;
      spec.seed = random->bits() >> 16;
      spec.cache.topk = pick(kTopks, random);
      spec.cache.page_size = pick(kPageSizes, random);
      spec.stranger_share = static_cast<double>(random->between(0, 10)) / 10;
      spec.duplicate_share = static_cast<double>(random->between(0, 5)) / 10;
      spec.batch_invariant = random->between(0, 3) == 0;
      spec.values = pick(all_values(), random).values;
      if (random->between(0, 1) == 0) {
        spec.sinks = sinks_of(spec.h_q);
      }
      if (!prefill_ && random->between(0, 1) == 0) {
        spec.extra = spec.cache;
        spec.extra.topk = pick(kTopks, random);
      }
      if (spec.h_q * spec.s_q > 64) {  // the reference is slow
        spec.cache.topk = std::min<int64_t>(spec.cache.topk, 200);
        spec.extra.topk = std::min<int64_t>(spec.extra.topk, 200);
      }
    });
  }

  std::vector<SparseSpec> take() { return std::move(specs_); }

 private:
  // The base, changed.
  template <typename Change>
  void add(const Change& change) {
    SparseSpec spec = base_;
    change(spec);
    spec.cache.page_size = prefill_ ? 1 : spec.cache.page_size;
    for (SparseCacheSpec* cache : {&spec.cache, &spec.extra}) {
      cache->pages = kPoolTokens / cache->page_size + 1;
      cache->lengths.resize(cache->lengths.empty() ? 0 : static_cast<size_t>(spec.batch));
    }
    specs_.push_back(std::move(spec));
  }

  static std::vector<float> sinks_of(int64_t h_q) {
    std::vector<float> sinks;
    for (int64_t head = 0; head < h_q; ++head) {
      sinks.push_back(static_cast<float>(head % 7 - 3));
    }
    return sinks;
  }

  static void set_format(SparseSpec* spec, const FormatFacts& format) {
    spec->cache.format = format.id;
    spec->cache.scale = format.has_tensor_scale ? 0.5F : 1.0F;
    spec->d_qk = format.columns();
    spec->d_v = std::min<int64_t>(format.columns(), 512);
  }

  bool prefill_;
  SparseSpec base_;
  std::vector<SparseSpec> specs_;
};

}  // namespace

std::string dtypes_text(const SparseSpec& spec) {
  std::string text = short_name(spec.q_dtype);
  if (spec.cache.format != spec.q_dtype) {
    text += fmt::format("/{}", short_name(spec.cache.format));
  }
  if (spec.extra.topk > 0 && spec.extra.format != spec.cache.format) {
    text += fmt::format("+{}", short_name(spec.extra.format));
  }
  return text;
}

std::string name_of(const SparseSpec& spec) {
  std::string text =
      fmt::format("b{} sq{} hq{} d{}/{} topk{} page{}", spec.batch, spec.s_q, spec.h_q, spec.d_qk,
                  spec.d_v, spec.cache.topk, spec.cache.page_size);
  if (spec.extra.topk > 0) {
    text += fmt::format(" extra{} page{}", spec.extra.topk, spec.extra.page_size);
  }
  text += " " + dtypes_text(spec);
  text += spec.cache.lengths.empty() ? "" : " lengths";
  text += spec.sinks.empty() ? "" : " sinks";
  text += spec.values == Values::kSuite ? "" : fmt::format(" {}", lab::name_of(spec.values));
  text += spec.batch_invariant ? " batch-invariant" : "";
  text += spec.lse_base == SEESAW_LSE_BASE2 ? " lse2" : "";
  text += spec.empty_lse == SEESAW_EMPTY_LSE_POSITIVE_INFINITY ? " empty+inf" : "";
  return text;
}

std::vector<SparseSpec> sparse_grid(bool prefill, GridSize size, uint64_t seed) {
  Grid grid(prefill, seed);
  grid.add_axes();
  grid.add_formats();
  grid.add_values();
  if (size != GridSize::kQuick) {
    grid.add_large(size);
  }
  const int combinations = size == GridSize::kQuick ? 10 : size == GridSize::kNormal ? 100 : 1000;
  Random random(seed);
  for (int i = 0; i < combinations; ++i) {
    grid.add_random(&random);
  }
  return grid.take();
}

Work work_of(const SparseSpec& spec) {
  const int64_t items = spec.batch * spec.s_q;
  const auto columns = static_cast<double>(spec.d_qk + spec.d_v);
  Work work;
  for (const SparseCacheSpec* cache : {&spec.cache, &spec.extra}) {
    work.tokens += items * cache->topk;
    work.bytes += static_cast<double>(
        items * cache->topk *
        (token_bytes(cache->format, spec.d_qk) + static_cast<int64_t>(sizeof(int32_t))));
  }
  work.flops = 2 * static_cast<double>(work.tokens * spec.h_q) * columns;
  work.bytes +=
      static_cast<double>(items * spec.h_q) * columns * static_cast<double>(size_of(spec.q_dtype));
  return work;
}

}  // namespace seesaw::tools
