#ifndef GROVE_GREEN_INTERNAL_SANITIZER_H_
#define GROVE_GREEN_INTERNAL_SANITIZER_H_

#include <cstddef>

// All that grove tells AddressSanitizer, ThreadSanitizer and valgrind about its stacks.
// Nothing else in the tree names them. In other builds everything here is empty.

#if defined(__SANITIZE_ADDRESS__)
#define GROVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GROVE_ASAN 1
#endif
#endif
#ifndef GROVE_ASAN
#define GROVE_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define GROVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GROVE_TSAN 1
#endif
#endif
#ifndef GROVE_TSAN
#define GROVE_TSAN 0
#endif

#if GROVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif

#if GROVE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// --config=valgrind
#ifdef GROVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

// For functions that no sanitizer may look into: they run where its runtime does not know
// of, in a child that shares this process's memory until it becomes another program.
#define GROVE_NO_SANITIZE \
  __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

// clone(2), for a child that shares our memory. ThreadSanitizer has a clone() that takes
// such a child for a copy, and then forgets what it knows of all other threads and
// fibers: by this name it leaves it alone.
#if GROVE_TSAN
extern "C" int __clone(int (*fn)(void*), void* stack, int flags, void* arg, ...) noexcept;
#define GROVE_CLONE __clone
#else
#define GROVE_CLONE clone
#endif

namespace grove::green_internal {

// How much more stack a build needs: ASan's redzones and unoptimised frames.
inline constexpr size_t kStackFactor = GROVE_ASAN ? 4 : 1;

// What the sanitizers keep for one stack.
struct SanitizerFiber {
#if GROVE_ASAN
  const void* stack_bottom = nullptr;
  size_t stack_size = 0;
  void* fake_stack = nullptr;
#endif
#if GROVE_TSAN
  void* fiber = nullptr;
#endif
};

// A thread's own stack becomes one to switch from and to.
inline void SanitizerAdoptThread([[maybe_unused]] SanitizerFiber* fiber) {
#if GROVE_TSAN
  fiber->fiber = __tsan_get_current_fiber();
#endif
  // ASan tells us the thread's stack at the first switch away from it, below.
}

// Memory of a stack is used for something else than frames. What was left by a final
// switch never removed its redzones.
inline void SanitizerReuse([[maybe_unused]] const void* bottom,
                           [[maybe_unused]] size_t size) {
#if GROVE_ASAN
  ASAN_UNPOISON_MEMORY_REGION(bottom, size);
#endif
}

// A stack is going to run.
inline void SanitizerNewStack([[maybe_unused]] SanitizerFiber* fiber,
                              [[maybe_unused]] const void* bottom,
                              [[maybe_unused]] size_t size) {
#if GROVE_ASAN
  fiber->stack_bottom = bottom;
  fiber->stack_size = size;
#endif
#if GROVE_TSAN
  fiber->fiber = __tsan_create_fiber(0);
#endif
}

#if GROVE_TSAN
// The fiber of a stack that ended. A fiber cannot be destroyed while it runs, so that
// is left to the next stack.
inline constinit thread_local void* tsan_ended_fiber = nullptr;

inline void TsanDestroyEnded() {
  if (tsan_ended_fiber == nullptr) return;
  __tsan_destroy_fiber(tsan_ended_fiber);
  tsan_ended_fiber = nullptr;
}
#endif

// A stack will not run again after the next switch.
inline void SanitizerDropStack([[maybe_unused]] SanitizerFiber* fiber) {
#if GROVE_TSAN
  TsanDestroyEnded();
  tsan_ended_fiber = fiber->fiber;
#endif
}

// ASan wants two calls around a switch: one before, on the old stack, and one after, on
// the new one, which also tells where the old one was. A null first argument says that
// the old stack is done with, and frees its fake stack.
[[gnu::always_inline]] inline void SanitizerBeforeSwitch(
    [[maybe_unused]] SanitizerFiber* from, [[maybe_unused]] const SanitizerFiber& to,
    [[maybe_unused]] bool last) {
#if GROVE_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from->fake_stack, to.stack_bottom,
                                 to.stack_size);
#endif
#if GROVE_TSAN
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
}

[[gnu::always_inline]] inline void SanitizerAfterSwitch(
    [[maybe_unused]] SanitizerFiber* self) {
#if GROVE_ASAN
  __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
#if GROVE_TSAN
  TsanDestroyEnded();
#endif
}

// The first thing on a new stack. `previous` is what was switched from, if that was a
// thread's own stack whose place is not known yet.
inline void SanitizerFirstEntry([[maybe_unused]] SanitizerFiber* previous) {
#if GROVE_ASAN
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (previous && previous->stack_bottom == nullptr) {
    previous->stack_bottom = bottom;
    previous->stack_size = size;
  }
#endif
#if GROVE_TSAN
  TsanDestroyEnded();
#endif
}

// A region that stacks are cut from: this is one of them.
inline void SanitizerAddStack([[maybe_unused]] const void* bottom,
                              [[maybe_unused]] const void* top) {
#ifdef GROVE_VALGRIND
  // Told once and for ever: stacks are reused, but never unmapped.
  (void)VALGRIND_STACK_REGISTER(bottom, top);
#endif
}

// Pointers that only a parked stack holds are no leaks.
inline void SanitizerAddRoots([[maybe_unused]] const void* region,
                              [[maybe_unused]] size_t size) {
#if GROVE_ASAN
  __lsan_register_root_region(region, size);
#endif
}
inline void SanitizerRemoveRoots([[maybe_unused]] const void* region,
                                 [[maybe_unused]] size_t size) {
#if GROVE_ASAN
  __lsan_unregister_root_region(region, size);
#endif
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SANITIZER_H_
