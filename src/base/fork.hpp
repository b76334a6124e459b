// Threads in a child of fork(). The child has only the thread that forked, but OpenMP's pool still
// counts the others: a parallel region of several threads would wait for them for ever. So where
// the parent had several threads (the pool among them), the child's parallel regions have one.
// Results keep their bits: who does what is the plan's matter, not the threads'.
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include <atomic>

namespace seesaw {
namespace fork_detail {

inline std::atomic<bool> had_threads = false;   // of the process that forks
inline std::atomic<bool> lost_threads = false;  // of this process

inline void before_fork() {
  // A folder a thread: its links are those and two more.
  struct stat tasks {};
  had_threads = stat("/proc/self/task", &tasks) != 0 || tasks.st_nlink > 3;
}

inline void in_child() {
  if (had_threads) {
    lost_threads = true;
  }
}

inline const int registered = pthread_atfork(before_fork, nullptr, in_child);

}  // namespace fork_detail

// Whether this process is a child of fork() that OpenMP's threads did not come along to.
inline bool lost_threads_in_fork() {
  return fork_detail::lost_threads.load(std::memory_order_relaxed);
}

// How many threads a parallel region may have that wants this many.
inline int threads_here(int wanted) { return lost_threads_in_fork() ? 1 : wanted; }

}  // namespace seesaw
