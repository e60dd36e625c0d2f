#ifndef GROVE_GREEN_INTERNAL_HUB_RECORD_H_
#define GROVE_GREEN_INTERNAL_HUB_RECORD_H_

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/stack_capture.h"

namespace grove::green_internal {

// HubRecord
//
// What other threads know of a hub with greenlets, and how they look at it while it
// exists:
//
//   for (const auto& record : HubRecord::All()) {
//     const HubRecord::Look look(*record);
//     if (look) use(look.See().live);
//   }
//
// Those who look do not wait for each other, but to take its stack, nor does the hub,
// until it ends: what one looks at are variables that it writes without a lock
// (hub_internal::Relaxed).
//
// Threads: any.
class HubRecord {
 public:
  // All hubs with greenlets that exist now, the oldest first.
  static std::vector<std::shared_ptr<HubRecord>> All();

  // While one exists, so does the hub, if it did when it was made.
  class Look {
   public:
    explicit Look(HubRecord& record)
        : lock_(record.mutex_), scheduler_(record.scheduler_) {}
    explicit operator bool() const { return scheduler_ != nullptr; }
    Scheduler::Outside See() const { return scheduler_->FromElsewhere(); }

   private:
    const std::shared_lock<std::shared_mutex> lock_;
    const Scheduler* const scheduler_;
  };

  const HubHandle& handle() const { return handle_; }
  const std::string& name() const { return handle_.name(); }
  pid_t tid() const { return tid_; }

  // Whether its thread, one of a pool, waits for work: nothing of the hub runs meanwhile.
  bool rests() const { return rests_.load(std::memory_order_relaxed); }
  void set_rests(bool rests) { rests_.store(rests, std::memory_order_relaxed); }
  // Whether its thread is one of a pool: which is for what blocks it.
  bool is_a_pools() const { return is_a_pools_; }
  // For a pool's thread, at its begin.
  static void ThisThreadIsAPools();

  // Takes the stack of what the hub's thread runs. The caller holds a Look at it.
  bool Capture(int signum, absl::Duration limit, CapturedStack* out) {
    const std::lock_guard lock(capturing_);
    return capture_.Take(thread_, signum, limit, out);
  }
  // In the handler of that signal.
  StackCapture& capture() { return capture_; }

  // Greenlets that may hold up the hub (IgnoreBlocking); one may be there twice.
  void Ignore(const Core* core);
  void StopIgnoring(const Core* core);
  // The caller holds a Look at it.
  bool Ignores(const Core* core) const;

 private:
  friend class Scheduler;
  friend struct DebuggerTable;

  explicit HubRecord(Scheduler* s);
  // For the hub itself.
  static std::shared_ptr<HubRecord> Add(Scheduler* s);
  void Remove();
  // In a forked child: what there is of the parent's is forgotten, and `self`, the hub
  // that lives on, if there is one, has a record of its own.
  static std::shared_ptr<HubRecord> ReplaceAllInChild(Scheduler* self);

  std::shared_mutex mutex_;
  std::mutex capturing_;
  mutable std::mutex ignoring_;  // ignored_
  std::atomic<bool> rests_{false};
  const bool is_a_pools_;
  Scheduler* scheduler_;  // null once it has ended
  const HubHandle handle_;
  const pthread_t thread_;
  const pid_t tid_;
  std::vector<const Core*> ignored_;
  StackCapture capture_;
};

// QuietThread
//
// Says of the thread that it runs on that it never posts to a hub what could wake a
// greenlet, so that a hub with nothing left to wait for need not wait for it.
class QuietThread {
 public:
  QuietThread();
  QuietThread(const QuietThread&) = delete;
  QuietThread& operator=(const QuietThread&) = delete;
  ~QuietThread();

  static int Count();
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_HUB_RECORD_H_
