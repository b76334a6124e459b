// Defines malloc and its relatives for the program it is linked into; glibc's own are behind them.
#include "support/allocation_count.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

// How clang tells of a sanitizer; GCC has macros.
#if defined(__has_feature)
#define SEESAW_HAS_FEATURE(feature) __has_feature(feature)
#else
#define SEESAW_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                 \
    SEESAW_HAS_FEATURE(address_sanitizer) || SEESAW_HAS_FEATURE(thread_sanitizer) || \
    !defined(__GLIBC__)
#define SEESAW_COUNT_ALLOCATIONS 0
#else
#define SEESAW_COUNT_ALLOCATIONS 1
#endif

namespace seesaw::testing {
namespace {

std::atomic<int64_t> count{0};

}  // namespace

bool allocations_are_counted() { return SEESAW_COUNT_ALLOCATIONS != 0; }
int64_t allocation_count() { return count.load(); }

#if SEESAW_COUNT_ALLOCATIONS
extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* data, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

__attribute__((visibility("default"))) void* malloc(size_t size) {
  ++count;
  return __libc_malloc(size);
}

__attribute__((visibility("default"))) void* calloc(size_t items, size_t size) {
  ++count;
  return __libc_calloc(items, size);
}

__attribute__((visibility("default"))) void* realloc(void* data, size_t size) {
  ++count;
  return __libc_realloc(data, size);
}

__attribute__((visibility("default"))) void* memalign(size_t alignment, size_t size) {
  ++count;
  return __libc_memalign(alignment, size);
}

__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

__attribute__((visibility("default"))) int posix_memalign(void** data, size_t alignment,
                                                          size_t size) {
  *data = memalign(alignment, size);
  return *data == nullptr ? ENOMEM : 0;
}

}  // extern "C"
#endif

}  // namespace seesaw::testing
