#ifndef GROVE_HUB_INTERNAL_PER_THREAD_H_
#define GROVE_HUB_INTERNAL_PER_THREAD_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace grove::hub_internal {

// How far it is from the current thread-local variables to those of the kernel's thread,
// which have the same places in their block. Not zero only in a greenlet that is a thread
// to the program, and has variables of its own (patch/internal/thread_storage.h).
[[gnu::tls_model(
    "initial-exec")]] inline constinit thread_local ptrdiff_t to_kernel_thread = 0;

// PerThread
//
// A thread-local variable that is the kernel's thread's, and so its hub's, whatever
// greenlet asks.
//
//   constinit thread_local PerThread<PollSet*> poll_set;
//
// For what is kept for the hub: plain thread_local is each patched thread's own, which is
// right for scratch space.
template <typename T>
class PerThread {
 public:
  // Nothing says when it should be destroyed; nor is there room for a first use in each
  // block (constinit).
  static_assert(std::is_trivially_destructible_v<T>);

  constexpr PerThread() = default;
  PerThread(const PerThread&) = delete;
  PerThread& operator=(const PerThread&) = delete;

  T& get() {
    // The compiler is not to conclude that this is within the variable that it knows.
    auto at = reinterpret_cast<uintptr_t>(&value_);
    asm("" : "+r"(at));
    return *reinterpret_cast<T*>(at + static_cast<uintptr_t>(to_kernel_thread));
  }
  operator T&() { return get(); }  // NOLINT(google-explicit-constructor)
  T operator->() { return get(); }
  T& operator=(T value) { return get() = value; }

 private:
  T value_ = {};
};

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_PER_THREAD_H_
