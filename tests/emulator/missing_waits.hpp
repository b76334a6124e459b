// Whether a wait that a kernel does without shows: in wrong results, or in a block that never ends.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "any_conditions.hpp"
#include "dense_decode.hpp"

namespace seesaw::emulator {

// Calls that between them have whatever a barrier is there for.
class WaitCases {
 public:
  lab::DecodeCase& add(const lab::DecodeSpec& spec, const Shares& shares) {
    auto inputs = std::make_unique<lab::DecodeCase>(spec);
    auto call = std::make_unique<DecodeCall>(*inputs, shares);
    runs_.push_back({std::move(inputs), std::move(call)});
    return *runs_.back().inputs;
  }

  // Where and how it shows that something is missing: a case and conditions; "" if nowhere.
  std::string shown(const Ignored& ignored) const {
    for (size_t i = 0; i < runs_.size(); ++i) {
      for (const Conditions& any : kAnyConditions) {
        // A row whose sum has become NaN is computed anew, so numbers may show what NaN does not.
        for (const int start : {0xFF, 0x41}) {
          const UnderConditions here({any.order, any.timing, ignored, start});
          std::string found = runs_[i].call->run();
          if (found.empty()) found = runs_[i].call->verdict();
          if (!found.empty()) return name_of(any) + ", case " + std::to_string(i) + ": " + found;
        }
      }
    }
    return "";
  }

 private:
  struct Run {
    std::unique_ptr<lab::DecodeCase> inputs;
    std::unique_ptr<DecodeCall> call;
  };

  std::vector<Run> runs_;
};

// Whether anything shows. In a process of its own: without its waits, a kernel may follow garbage
// out of all memory, or never end.
inline bool shows(const std::function<WaitCases()>& cases, const Ignored& ignored) {
  enum Exit { kShown = 0, kNotShown = 1 };
  constexpr rlim_t kSeconds = 60;  // of processor time; what shows nothing takes two
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {kSeconds, kSeconds};
    setrlimit(RLIMIT_CPU, &limit);
    omp_set_num_threads(1);  // OpenMP's other threads have not come along
    const std::string shown = cases().shown(ignored);
    _exit(shown.empty() ? kNotShown : kShown);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == kNotShown);
}

// Who waits for which mbarrier.
struct Wait {
  std::string name;
  size_t offset;  // in the shared memory of the block
  unsigned thread_begin;
  unsigned thread_end;

  Ignored ignored() const {
    return {.what = Ignored::What::kMbarrier,
            .which = static_cast<uint32_t>(offset),
            .thread_begin = thread_begin,
            .thread_end = thread_end};
  }
};

// Which of `count` mbarriers from `first` on are among these.
inline std::vector<bool> listed_mbarriers(const std::vector<Wait>& waits, size_t first,
                                          size_t count) {
  std::vector<bool> listed(count);
  for (const Wait& wait : waits) listed.at((wait.offset - first) / sizeof(uint64_t)) = true;
  return listed;
}

}  // namespace seesaw::emulator
