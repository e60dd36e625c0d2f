#ifndef GROVE_SYNC_INTERNAL_CROSS_LINE_H_
#define GROVE_SYNC_INTERNAL_CROSS_LINE_H_

#include <atomic>
#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "grove/hub/deadline.h"

namespace grove::sync_internal {

// CrossLine
//
// Greenlets of several hubs that wait for the same condition, which any thread may bring
// about without a lock. Whoever does so calls WakeOne(), which costs a fence and a load
// as long as nobody waits. Whoever wakes looks at the condition again.
//
// Threads: any.
class CrossLine {
 public:
  CrossLine();
  CrossLine(const CrossLine&) = delete;
  CrossLine& operator=(const CrossLine&) = delete;

  // CrossLine::Wait()
  //
  // Stands in line, and waits to be woken unless `ready`, asked then, says that there is
  // no need. False if the deadline passed. A thread without a hub gets one.
  //
  // Kill: throws; if it had been woken as well, the next in line is.
  [[nodiscard]] bool Wait(absl::FunctionRef<bool()> ready, Deadline deadline,
                          const char* what);

  // After the condition was brought about.
  void WakeOne() {
    // With the one in Wait(): either that one sees the condition, or this the waiter.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (waiting_.load(std::memory_order_relaxed) > 0) Wake(1);
  }
  void WakeAll() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (waiting_.load(std::memory_order_relaxed) > 0) Wake(-1);
  }

  int waiting() const { return waiting_.load(std::memory_order_relaxed); }

 private:
  class Place;
  std::unique_lock<std::mutex> Lock();
  void Wake(int n);

  std::atomic<int> waiting_{0};
  std::atomic<uint8_t> process_;  // see Lock()
  std::mutex mutex_;
  Place* first_ = nullptr;
  Place* last_ = nullptr;
};

}  // namespace grove::sync_internal

#endif  // GROVE_SYNC_INTERNAL_CROSS_LINE_H_
