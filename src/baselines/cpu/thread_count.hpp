// How many threads OpenMP uses, for as long as an object lives.
#pragma once

#include <omp.h>

namespace seesaw::baselines::cpu {

// This thread's OpenMP, and so oneDNN, uses `count` threads during this object's life.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~ThreadCount() { omp_set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace seesaw::baselines::cpu
