#include "grove/green/internal/process_mutex.h"

#include <sched.h>

#include <atomic>

namespace grove::green_internal {
namespace {

// None is ever taken out.
constinit std::atomic<ProcessMutex*> first{nullptr};
// What LockAll() has locked: others may be made meanwhile.
constinit ProcessMutex* locked_from = nullptr;
constinit std::mutex locking_all;

}  // namespace

ProcessMutex::ProcessMutex() {
  next_ = first.load(std::memory_order_relaxed);
  while (!first.compare_exchange_weak(next_, this, std::memory_order_acq_rel)) {
  }
}

// Waiting for none while holding another: whoever holds that one may want the first.
bool ProcessMutex::TryLockAll() {
  locked_from = first.load(std::memory_order_acquire);
  for (ProcessMutex* m = locked_from; m; m = m->next_) {
    if (m->mutex_.try_lock()) continue;
    for (ProcessMutex* held = locked_from; held != m; held = held->next_) held->unlock();
    return false;
  }
  return true;
}

void ProcessMutex::LockAll() {
  locking_all.lock();
  while (!TryLockAll()) sched_yield();
}

void ProcessMutex::UnlockAll() {
  for (ProcessMutex* m = locked_from; m; m = m->next_) m->unlock();
  locking_all.unlock();
}

}  // namespace grove::green_internal
