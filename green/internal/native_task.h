#ifndef GROVE_GREEN_INTERNAL_NATIVE_TASK_H_
#define GROVE_GREEN_INTERNAL_NATIVE_TASK_H_

#include "absl/status/status.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/mailbox.h"

namespace grove::green_internal {

class PoolCore;

// NativeTask
//
// A function on its way to a pool's thread and home again: to the hub of the thread that
// made it. What was submitted ends in one of two ways, exactly once: by OnEnd() at home,
// or by OnOrphaned() if that hub has ended before. Until then it has to exist.
//
// Threads: its hub's, but for Run() and OnOrphaned().
class NativeTask : private Letter {
 public:
  NativeTask(const NativeTask&) = delete;
  NativeTask& operator=(const NativeTask&) = delete;

  bool ended() const { return ended_; }
  // Once it has ended: why it did not run, or OK.
  const absl::Status& status() const { return status_; }
  // Null for one that never leaves its thread.
  Scheduler* home() const { return home_; }

 protected:
  explicit NativeTask(Scheduler* home) : Letter(&Deliver), home_(home) {}
  ~NativeTask() = default;

  // On a pool's thread. Throws nothing.
  virtual void Run() = 0;
  // On the hub's stack, or in the greenlet that withdraws it. Does not block.
  virtual void OnEnd() = 0;
  // On any thread. The default is for what lies on the stack of a greenlet that never
  // goes on.
  virtual void OnOrphaned() {}
  // The queue was full, and now there is room for it. On any thread, under the pool's
  // lock.
  virtual void OnAdmitted() {}

  // Hands it to the pool. On an error it was not: it will neither run nor end. Sets
  // `admitted` to whether there was room in the queue; if not, OnAdmitted() comes, unless
  // it ends before.
  absl::Status SubmitTo(PoolCore* pool, bool* admitted);
  // It has not begun, will not, and has ended by `status`. False if it is too late for
  // that; with `unless_admitted`, also if there was room for it.
  bool Withdraw(absl::Status status, bool unless_admitted = false);
  // Whether it has ended since this process was forked off.
  bool lost() const { return lost_ && status_.code() == absl::StatusCode::kAborted; }
  // For OnAdmitted(). False if the hub has ended.
  static bool PostHome(Scheduler* home, Letter* letter);
  // For one that never leaves its thread, or was not taken.
  void EndHere(absl::Status status) {
    status_ = std::move(status);
    ended_ = true;
  }

 private:
  friend class PoolCore;
  class Loss;

  static void Deliver(Letter* letter, bool hub_alive);
  // On any thread: it has run, or will not, because of `status`.
  void SendHome(absl::Status status);
  void EndAtHome();
  // What this thread's hub waits for is in a list of its own, so that a forked child
  // knows.
  void Expect();
  void ExpectNoMore();
  // In a forked child: those that this thread's hub waits for will never come, but for
  // those that have been posted already.
  static void LoseAll();
  static void EndLost();

  Scheduler* const home_;
  PoolCore* pool_ = nullptr;
  absl::Status status_;
  bool ended_ = false;
  bool lost_ = false;  // by a fork
  NativeTask* expected_previous_ = nullptr;
  NativeTask* expected_next_ = nullptr;
  // The pool's queue, under its lock.
  bool queued_ = false;
  bool admitted_ = true;
  NativeTask* previous_ = nullptr;
  NativeTask* next_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_NATIVE_TASK_H_
