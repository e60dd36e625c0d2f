#ifndef GROVE_PATCH_INTERNAL_SPIN_MUTEX_H_
#define GROVE_PATCH_INTERNAL_SPIN_MUTEX_H_

#include <atomic>

namespace grove::patch::patch_internal {

// SpinMutex
//
// For a few instructions, where std::mutex would come back to what is patched.
class SpinMutex {
 public:
  void lock() {
    while (locked_.exchange(true, std::memory_order_acquire)) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#else
      asm volatile("yield");
#endif
    }
  }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> locked_ = false;
};

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_SPIN_MUTEX_H_
