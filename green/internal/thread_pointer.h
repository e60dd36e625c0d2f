#ifndef GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
#define GROVE_GREEN_INTERNAL_THREAD_POINTER_H_

namespace grove::green_internal {

// What thread-local variables are found by: the address of the thread control block.
inline void* ThreadPointer() { return __builtin_thread_pointer(); }

// For greenlets that are threads to a program, with variables of their own; see
// patch/internal/thread_storage.h, which has asked whether a program may do that.
inline void SetThreadPointer(void* block) {
#if defined(__x86_64__)
  asm volatile("wrfsbase %0" : : "r"(block) : "memory");
#elif defined(__aarch64__)
  asm volatile("msr tpidr_el0, %0" : : "r"(block) : "memory");
#endif
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
