#include "engine/tuning.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <vector>

#include "base/message.hpp"
#include "engine/devices.hpp"
#include "engine/tuning_file.hpp"
#include "seesaw/seesaw.h"

namespace seesaw::engine {
namespace {

using TablePointer = std::shared_ptr<const TuningTable>;

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
    auto read = std::make_shared<TuningTable>();
    SEESAW_RETURN_IF_ERROR(parse_tuning(text.str(), path, read.get()));
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
  auto read = std::make_shared<TuningTable>();
  SEESAW_RETURN_IF_ERROR(parse_tuning(tuning, "(given as text)", read.get()));
  *table = std::move(read);
  return {};
}

std::string why_no_entry(const TuningTable& table, const TuningKey& wanted) {
  const auto count = [&](auto matches) {
    return std::count_if(table.entries.begin(), table.entries.end(),
                         [&](const TuningEntry& entry) { return matches(entry.key); });
  };
  const auto here = count([&](const TuningKey& key) { return key.device == wanted.device; });
  if (here == 0) {
    return fmt::format("none of its {} entries is for this device ({})", table.entries.size(),
                       wanted.device);
  }
  const auto kernel = count([&](const TuningKey& key) {
    return key.device == wanted.device && key.kernel == wanted.kernel;
  });
  return kernel == 0 ? fmt::format("it has no entry for {} on this device", wanted.kernel)
                     : fmt::format("it has {} entries for {} on this device, none for this shape",
                                   kernel, wanted.kernel);
}

// The values of an entry, in the order of the kernel's knobs.
std::vector<int32_t> values_for(const Kernel& kernel, const TuningEntry& entry) {
  std::vector<int32_t> values(kernel.knobs.size(), kUnset);
  for (size_t i = 0; i < values.size(); ++i) {
    for (const auto& [name, value] : entry.values) {
      if (name == kernel.knobs[i].name) {
        values[i] = value;
      }
    }
  }
  return values;
}

}  // namespace

Status find_tuning(const Operation& operation, const Kernel& kernel, const void* problem,
                   const Options& options, Tuning* found) {
  const TuningKey key =
      tuning_key(operation, problem, options, device_key(options.device), kernel.name);
  found->key = key.text;
  if (options.tuning.empty()) {
    found->text = "no tuning file";
    return {};
  }
  const std::string name = is_text(options.tuning) ? "(given as text)" : options.tuning;
  TablePointer table;
  SEESAW_RETURN_IF_ERROR(read_tuning(options.tuning, &table));
  const auto entry = std::find_if(table->entries.begin(), table->entries.end(),
                                  [&](const TuningEntry& e) { return e.key.match == key.match; });
  std::string why_not;
  if (options.batch_invariant) {
    why_not = "batch-invariant splits are the same everywhere";
  } else if (table->version != SEESAW_VERSION_STRING) {
    why_not = fmt::format("it was measured with version {}, this is {}", table->version,
                          SEESAW_VERSION_STRING);
  } else if (entry == table->entries.end()) {
    why_not = why_no_entry(*table, key);
  }
  found->tuned = why_not.empty();
  if (!found->tuned) {
    found->text = fmt::format("{}: not used, {}", name, why_not);
    return {};
  }
  found->text = fmt::format("{}: {}", name, to_text(*entry));
  found->values = values_for(kernel, *entry);
  return {};
}

}  // namespace seesaw::engine
