#include "engine/tuning.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>

#include "base/message.hpp"
#include "engine/tuning_file.hpp"
#include "engine/devices.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {
namespace {

using TablePointer = std::shared_ptr<const split::TuningTable>;

// A file as it was when it was read.
struct ReadFile {
  std::filesystem::file_time_type changed;
  uintmax_t size_bytes = 0;
  TablePointer table;
};

// Every file read so far. Never destroyed: plans may be made while the process ends.
struct ReadFiles {
  std::mutex mutex;
  std::map<std::string, ReadFile> by_path;
};
ReadFiles& read_files() {
  static auto* files = new ReadFiles;
  return *files;
}

constexpr uintmax_t kMostBytes = uintmax_t{16} << 20;

Status cannot_read(const std::string& path, std::string_view why) {
  return invalid_argument(four_part_message("tuning_file", fmt::format("{}: {}", path, why),
                                            "a file that `seesaw tune` wrote",
                                            "Name one that is there, or unset SEESAW_TUNE_FILE."));
}

Status read_file(const std::string& path, TablePointer* table) {
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(path, error);
  const uintmax_t size_bytes = error ? 0 : std::filesystem::file_size(path, error);
  if (error) {
    return cannot_read(path, error.message());
  }
  if (size_bytes > kMostBytes) {
    return cannot_read(path, fmt::format("{} bytes", size_bytes));
  }
  const std::lock_guard lock(read_files().mutex);
  ReadFile& known = read_files().by_path[path];
  if (known.table == nullptr || known.changed != changed || known.size_bytes != size_bytes) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) {
      return cannot_read(path, "it cannot be read");
    }
    auto read = std::make_shared<split::TuningTable>();
    SEESAW_RETURN_IF_ERROR(split::parse_tuning(text.str(), path, read.get()));
    known = {changed, size_bytes, std::move(read)};
  }
  *table = known.table;
  return {};
}

bool is_text(const std::string& tuning) { return tuning.starts_with('{'); }

Status read_tuning(const std::string& tuning, TablePointer* table) {
  if (!is_text(tuning)) {
    return read_file(tuning, table);
  }
  auto read = std::make_shared<split::TuningTable>();
  SEESAW_RETURN_IF_ERROR(split::parse_tuning(tuning, "(given as text)", read.get()));
  *table = std::move(read);
  return {};
}

std::string why_no_entry(const split::TuningTable& table, const split::TuningKey& wanted) {
  const auto count = [&](auto matches) {
    return std::count_if(table.entries.begin(), table.entries.end(),
                         [&](const split::TuningEntry& entry) { return matches(entry.key); });
  };
  const auto here = count([&](const split::TuningKey& key) { return key.device == wanted.device; });
  if (here == 0) {
    return fmt::format("none of its {} entries is for this device ({})", table.entries.size(),
                       wanted.device);
  }
  const auto kernel = count([&](const split::TuningKey& key) {
    return key.device == wanted.device && key.kernel == wanted.kernel;
  });
  return kernel == 0 ? fmt::format("it has no entry for {} on this device", wanted.kernel)
                     : fmt::format("it has {} entries for {} on this device, none for this shape",
                                   kernel, wanted.kernel);
}

// The kernel's plan with the numbers of `tuning`. A worker's cost does not enter the sizes, and
// fewer workers need no more of anything, so the kernel's sizes hold.
Status apply(const split::Tuning& tuning, const std::string& name,
             const engine::DenseDecodeKernel& kernel, DenseDecodeProblem problem,
             DenseDecodePlan* plan) {
  constexpr int32_t kUnset = split::Tuning::kUnset;
  if (tuning.num_workers > plan->split.num_workers) {
    return invalid_argument(four_part_message(
        "tuning_file", fmt::format("{}: num_workers = {}", name, tuning.num_workers),
        fmt::format("1 to {} for this problem", plan->split.num_workers),
        "Run `seesaw tune` again."));
  }
  const bool on_cpu = problem.device.type == DeviceType::kCpu;
  if (on_cpu) {
    problem.num_threads = tuning.num_workers == kUnset ? problem.num_threads : tuning.num_workers;
    problem.chunk_tokens = tuning.chunk_tokens == kUnset ? 0 : tuning.chunk_tokens;
    *plan = kernel.plan(problem);
  }
  split::SplitConfig& split = plan->split;
  const auto set = [](int32_t value, int32_t* to) { *to = value == kUnset ? *to : value; };
  set(tuning.num_workers, &split.num_workers);
  set(tuning.piece_cost_tiles, &split.piece_cost_tiles);
  set(tuning.split_cost_tiles, &split.split_cost_tiles);
  return {};
}

}  // namespace

Status make_plan(const engine::DenseDecodeKernel& kernel, const DenseDecodeProblem& problem,
                 TunedPlan* made) {
  made->plan = kernel.plan(problem);
  const split::TuningKey key =
      split::tuning_key(problem, engine::device_key(problem.device), kernel.name);
  made->key = split::to_json(key);
  if (problem.tuning.empty()) {
    made->tuning = "no tuning file";
    return {};
  }
  const std::string name = is_text(problem.tuning) ? "(given as text)" : problem.tuning;
  TablePointer table;
  SEESAW_RETURN_IF_ERROR(read_tuning(problem.tuning, &table));
  const auto entry = std::find_if(table->entries.begin(), table->entries.end(),
                                  [&](const split::TuningEntry& e) { return e.key == key; });
  std::string why_not;
  if (problem.splits == Splits::kBatchInvariant) {
    why_not = "batch-invariant splits are the same everywhere";
  } else if (table->version != SEESAW_VERSION_STRING) {
    why_not = fmt::format("it was measured with version {}, this is {}", table->version,
                          SEESAW_VERSION_STRING);
  } else if (entry == table->entries.end()) {
    why_not = why_no_entry(*table, key);
  }
  made->tuned = why_not.empty();
  made->tuning = made->tuned ? fmt::format("{}: {}", name, split::to_text(entry->tuning))
                             : fmt::format("{}: not used, {}", name, why_not);
  return made->tuned ? apply(entry->tuning, name, kernel, problem, &made->plan) : Status();
}

}  // namespace seesaw::engine
