#ifndef GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
#define GROVE_GREEN_INTERNAL_THREAD_POINTER_H_

namespace grove::green_internal {

// What thread-local variables are found by: the address of the thread control block.
inline void* ThreadPointer() { return __builtin_thread_pointer(); }

// Whether it has to be asked of the kernel; set before anybody sets the pointer. A
// program may write the register itself where the processor has FSGSBASE and Linux is 5.9
// or later.
inline constinit bool thread_pointer_is_the_kernels = false;

// For greenlets that are threads to a program, with variables of their own; see
// patch/internal/thread_storage.h.
inline void SetThreadPointer(void* block) {
#if defined(__x86_64__)
  if (thread_pointer_is_the_kernels) {
    // arch_prctl(ARCH_SET_FS, block), by number: libc's syscall() has errno, which is one
    // of the variables that are found by it.
    long call = 158;
    asm volatile("syscall"
                 : "+a"(call)
                 : "D"(0x1002), "S"(block)
                 : "rcx", "r11", "memory");
    return;
  }
  asm volatile("wrfsbase %0" : : "r"(block) : "memory");
#elif defined(__aarch64__)
  asm volatile("msr tpidr_el0, %0" : : "r"(block) : "memory");
#endif
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_THREAD_POINTER_H_
