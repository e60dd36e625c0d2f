#ifndef GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
#define GROVE_GREEN_INTERNAL_THREAD_POINTER_H_

namespace grove::green_internal {

// What thread-local variables are found by: the address of the thread control block.
inline void* ThreadPointer() { return __builtin_thread_pointer(); }

#if defined(__x86_64__)
// For greenlets that are threads to a program, with variables of their own; see
// patch/internal/thread_storage.h, which has asked whether the processor knows that.
inline constexpr bool kThreadPointerCanBeSet = true;
inline void SetThreadPointer(void* block) {
  asm volatile("wrfsbase %0" : : "r"(block) : "memory");
}
#else
inline constexpr bool kThreadPointerCanBeSet = false;
inline void SetThreadPointer(void*) {}
#endif

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
