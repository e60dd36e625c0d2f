#include "tools/bench/alloc_count.h"

#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#define GROVE_BENCH_FEATURE(x) __has_feature(x)
#else
#define GROVE_BENCH_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    GROVE_BENCH_FEATURE(address_sanitizer) || GROVE_BENCH_FEATURE(thread_sanitizer)
#define GROVE_BENCH_COUNTS 0
#else
#define GROVE_BENCH_COUNTS 1
#endif

namespace grove::bench {
namespace {

// Per thread: one counter for all would cost more than what is measured.
constinit thread_local uint64_t t_count = 0;

[[maybe_unused]] void* Allocate(size_t size) {
  ++t_count;
  void* p = malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

[[maybe_unused]] void* Allocate(size_t size, std::align_val_t alignment) {
  ++t_count;
  const size_t a = static_cast<size_t>(alignment);
  void* p = aligned_alloc(a, (size + a) & ~(a - 1));  // a multiple of a, and not 0
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

uint64_t AllocationCount() { return t_count; }
bool CountsAllocations() { return GROVE_BENCH_COUNTS; }

#if GROVE_BENCH_COUNTS
}  // namespace grove::bench

// The library's other forms of new (arrays, nothrow) call these two, and its other forms
// of delete the two below.
void* operator new(size_t size) { return grove::bench::Allocate(size); }
void* operator new(size_t size, std::align_val_t alignment) {
  return grove::bench::Allocate(size, alignment);
}
void operator delete(void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }
void operator delete(void* p, std::align_val_t) noexcept { free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { free(p); }

namespace grove::bench {
#endif

}  // namespace grove::bench
