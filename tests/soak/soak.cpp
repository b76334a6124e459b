#include "soak/soak.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <fstream>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

namespace seesaw::soak {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr double kEpochSeconds = 5;

// Growth that is none: the heap's own books, pages that the system gives back late, the device's
// code and printf buffers.
constexpr uint64_t kHeapAllowance = 256 << 10;
constexpr uint64_t kResidentAllowance = 16 << 20;
// Epochs until a process has touched the pages that it goes on using: a third of them are the
// beginning that later ones are held against. A heap's books need not settle.
constexpr size_t kSettledEpochs = 12;
constexpr uint64_t kDeviceAllowance = 16 << 20;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

seesaw_stats stats_of(const char* kernel) {
  for (const seesaw_stats& row : stats()) {
    if (std::string_view(row.kernel) == kernel) {
      return row;
    }
  }
  throw std::runtime_error(fmt::format("soak: no counters of {}", kernel));
}

void expect(const char* what, uint64_t got, uint64_t want) {
  if (got != want) {
    throw std::runtime_error(fmt::format("soak: {} = {}, expected {}", what, got, want));
  }
}

// What the library counted of an epoch is what the epoch did.
void check_counters(const seesaw_stats& before, const seesaw_stats& after, const Totals& did) {
  const auto calls = [&](int function, int status) {
    return after.calls[function][status] - before.calls[function][status];
  };
  expect("plans counted", calls(SEESAW_STATS_PLAN, SEESAW_OK), did.plans);
  expect("schedules counted", calls(SEESAW_STATS_PREPARE, SEESAW_OK), did.prepares);
  expect("runs counted", calls(SEESAW_STATS_RUN, SEESAW_OK), did.runs);
  expect("refusals counted", calls(SEESAW_STATS_RUN, SEESAW_INVALID_ARGUMENT), did.refused);
  expect("sequences counted", after.sequences - before.sequences, did.sequences);
  if (after.lengths_known != 0) {
    expect("tokens counted", after.kv_tokens - before.kv_tokens, did.kv_tokens);
    expect("pieces counted", after.pieces - before.pieces, did.pieces);
  }
  expect("plans that are left", after.plans, before.plans);
}

// The last epoch against the largest of the first third, in which caches fill and pools start.
void check_growth(const char* what, const std::vector<Memory>& epochs, uint64_t Memory::*bytes,
                  uint64_t allowance) {
  if (epochs.size() < 3) {
    return;
  }
  uint64_t before = 0;
  for (size_t i = 0; i < (epochs.size() + 2) / 3; ++i) {
    before = std::max(before, epochs[i].*bytes);
  }
  const uint64_t now = epochs.back().*bytes;
  if (now > before + allowance) {
    throw std::runtime_error(
        fmt::format("soak: {} grew from {} to {} bytes in {} epochs, allowed: {} "
                    "more",
                    what, before, now, epochs.size(), allowance));
  }
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      return line.substr(line.find(':') + 2);
    }
  }
  return "unknown";
}

Json json_of(const Totals& totals) {
  return {{"plans", totals.plans},
          {"schedules", totals.prepares},
          {"runs", totals.runs},
          {"refused", totals.refused},
          {"replays", totals.replays},
          {"sequences", totals.sequences},
          {"kv_tokens", totals.kv_tokens},
          {"pieces", totals.pieces},
          {"compared", totals.compared},
          {"worst_error_of_bound", totals.worst},
          {"worst_cosine_distance", totals.worst_cosine}};
}

Json json_of(const std::vector<Memory>& epochs, uint64_t Memory::*bytes) {
  Json list = Json::array();
  for (const Memory& memory : epochs) {
    list.push_back(memory.*bytes);
  }
  return list;
}

Json record_of(const Soak& soak, const Flags& flags, double seconds, const Totals& totals,
               const std::vector<Memory>& epochs, const std::string& failure) {
  return {{"benchmark", soak.name},
          {"commit", SEESAW_BUILD_COMMIT},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
          {"cpu", cpu_model()},
          {"kernel", soak.kernel},
          {"seed", flags.seed},
          {"threads", flags.threads},
          {"seconds", seconds},
          {"epochs", epochs.size()},
          {"failure", failure},
          {"did", json_of(totals)},
          {"resident_bytes", json_of(epochs, &Memory::resident)},
          {"heap_bytes", json_of(epochs, &Memory::heap)},
          {"device_bytes", json_of(epochs, &Memory::device)}};
}

void write_record(const Flags& flags, const Json& record) {
  if (flags.record.empty()) {
    std::cout << record.dump(1) << "\n";
    return;
  }
  std::ofstream file(flags.record);
  file << record.dump(1) << "\n";
  if (!file.flush()) {
    throw std::runtime_error(fmt::format("soak: {} cannot be written", flags.record));
  }
}

}  // namespace

Flags parse_flags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--minutes") {
      flags.seconds = 60 * std::stod(value);
    } else if (name == "--seconds") {
      flags.seconds = std::stod(value);
    } else if (name == "--seed") {
      flags.seed = std::stoull(value);
    } else if (name == "--threads") {
      flags.threads = std::stoi(value);
    } else if (name == "--record") {
      flags.record = value;
    } else {
      throw std::invalid_argument(fmt::format(
          "soak: {}, allowed: --minutes, --seconds, --seed, --threads, --record", name));
    }
  }
  if (argc % 2 == 0 || flags.seconds <= 0 || flags.threads < 1) {
    throw std::invalid_argument(
        "soak: a flag without a value or with one out of range, allowed: "
        "positive numbers");
  }
  return flags;
}

Totals& Totals::operator+=(const Totals& other) {
  plans += other.plans;
  prepares += other.prepares;
  runs += other.runs;
  refused += other.refused;
  replays += other.replays;
  sequences += other.sequences;
  kv_tokens += other.kv_tokens;
  pieces += other.pieces;
  compared += other.compared;
  worst = std::max(worst, other.worst);
  worst_cosine = std::max(worst_cosine, other.worst_cosine);
  return *this;
}

Memory host_memory() {
  malloc_trim(0);
  Memory memory;
  const struct mallinfo2 heap = mallinfo2();
  memory.heap = heap.uordblks + heap.hblkhd;
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;  // all of them, then those in memory
  memory.resident = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return memory;
}

Totals on_threads(int32_t threads, const std::function<Totals(int32_t)>& work) {
  std::mutex mutex;
  Totals totals;
  std::exception_ptr failure;
  std::vector<std::thread> all;
  for (int32_t i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      try {
        const Totals did = work(i);
        const std::lock_guard lock(mutex);
        totals += did;
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = failure ? failure : std::current_exception();
      }
    });
  }
  for (std::thread& thread : all) {
    thread.join();
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
  return totals;
}

int run_soak(const Soak& soak, const Flags& flags) {
  const Clock::time_point begin = Clock::now();
  const double epoch_seconds = std::min(kEpochSeconds, flags.seconds / 6);
  Totals totals;
  std::vector<Memory> epochs;
  std::string failure;
  try {
    while (seconds_since(begin) < flags.seconds) {
      const seesaw_stats before = stats_of(soak.kernel);
      const Totals did = soak.run(epochs.size(), epoch_seconds);
      totals += did;
      epochs.push_back(soak.memory());
      check_counters(before, stats_of(soak.kernel), did);
      check_growth("the heap", epochs, &Memory::heap, kHeapAllowance);
      if (epochs.size() >= kSettledEpochs) {
        check_growth("memory", epochs, &Memory::resident, kResidentAllowance);
      }
      check_growth("device memory", epochs, &Memory::device, kDeviceAllowance);
    }
    if (totals.compared == 0 || totals.runs == 0) {
      throw std::runtime_error("soak: too short to compare anything, allowed: a second or more");
    }
  } catch (const std::exception& error) {
    failure = error.what();
    std::cerr << failure << "\n";
  }
  write_record(flags, record_of(soak, flags, seconds_since(begin), totals, epochs, failure));
  return failure.empty() ? 0 : 1;
}

}  // namespace seesaw::soak
