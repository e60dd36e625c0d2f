#ifndef GROVE_GREEN_INTERNAL_PROCESS_MUTEX_H_
#define GROVE_GREEN_INTERNAL_PROCESS_MUTEX_H_

#include <mutex>

namespace grove::green_internal {

// ProcessMutex
//
// A lock of what a process has one of. Fork() takes all of them first, since in the child
// there is no other thread that could release one: what they guard is as it should be
// there, and they are free. For objects that are never destroyed. Nothing blocks under
// one, and no greenlet switches.
class ProcessMutex {
 public:
  ProcessMutex();
  ProcessMutex(const ProcessMutex&) = delete;
  ProcessMutex& operator=(const ProcessMutex&) = delete;

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  // All that there are, in whatever order threads take several of them.
  static void LockAll();
  static void UnlockAll();

 private:
  static bool TryLockAll();

  std::mutex mutex_;
  ProcessMutex* next_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_PROCESS_MUTEX_H_
