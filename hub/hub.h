#ifndef GROVE_HUB_HUB_H_
#define GROVE_HUB_HUB_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/hub/clock.h"
#include "grove/hub/deadline.h"
#include "grove/hub/loop.h"
#include "grove/hub/mailbox.h"
#include "grove/hub/run_queue.h"
#include "grove/hub/timer_queue.h"

namespace grove {

// HubHandle
//
// Reaches a hub from other threads, and may outlive it. Copy it freely.
//
//   HubHandle home = Hub::Current()->handle();
//   std::thread([home] { home.Post([] { ... }).IgnoreError(); }).detach();
class HubHandle {
 public:
  HubHandle() = default;

  // HubHandle::Post()
  //
  // Runs `fn` on the hub's own stack soon. `fn` must not block: to do so, let it spawn.
  // See Mailbox::Post() for the contract.
  absl::Status Post(absl::AnyInvocable<void()> fn) const {
    return mailbox_->Post(std::move(fn));
  }

  // HubHandle::PostLetter()
  //
  // As Post(), without allocating: from signal handlers too. See Mailbox.
  bool PostLetter(Letter* letter) const { return mailbox_->PostLetter(letter); }

  const std::string& name() const { return mailbox_->hub_name(); }
  explicit operator bool() const { return mailbox_ != nullptr; }
  friend bool operator==(const HubHandle&, const HubHandle&) = default;

 private:
  friend class Hub;
  explicit HubHandle(std::shared_ptr<Mailbox> m) : mailbox_(std::move(m)) {}
  std::shared_ptr<Mailbox> mailbox_;
};

// When the main greenlet of a hub is told that nothing could ever wake it (LoopExit).
enum class LoopExitPolicy {
  // When it is certain: the process has no thread that could still post something.
  kWhenCertain,
  // Whenever the hub itself has nothing left to wait for, as gevent does.
  kAlways,
  // Never: wait for ever.
  kNever,
};

// HubOptions
struct HubOptions {
  // Names the hub in messages; "hub-N" if empty.
  std::string name = {};
  // The clock of everything that waits on this hub. Must outlive it.
  Clock* clock = Clock::Real();
  // How long ready work may run before timers, mail and, once each has had its turn, I/O
  // are looked at. A target, not a bound: what runs is never taken off its core.
  absl::Duration slice = absl::Milliseconds(1);
  // How many operations that succeed at once a greenlet may do in a row before it has
  // to let others run.
  int operations_per_turn = 64;
  LoopExitPolicy loop_exit = LoopExitPolicy::kWhenCertain;
};

// Hub
//
// The event loop of one thread with what makes it fair: a run queue worked off in
// slices, timers, a mailbox. It knows nothing of greenlets; those are one kind of
// Runnable (green/).
//
// Each turn runs what is ready, for a slice, then fires timers and delivers mail. Once
// all that was ready at the end of a slice has run, or nothing is left, it polls the loop
// as well, waiting only if nothing is ready: neither ready work, nor I/O, nor timers can
// starve one another.
//
// Threads: the thread that made it, but for handle() and Clock.
class Hub {
 public:
  explicit Hub(HubOptions options = {});
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;
  // Letters that were not delivered go back to their senders.
  ~Hub();

  // Hub::Current()
  //
  // This thread's hub, or null.
  static Hub* Current();

  // Hub::MakeReady()
  //
  // Lets `r` run behind all that is ready now. It must not be in the queue yet.
  void MakeReady(Runnable* r) { ready_.PushBack(r); }

  // Hub::RunCallback()
  //
  // Runs `fn` once, on the hub's stack, behind all that is ready now.
  void RunCallback(absl::AnyInvocable<void()> fn);

  // Hub::Turn()
  //
  // One turn, as above. Does not wait if `wait` is false.
  // Returns false, without waiting, if there was nothing to do and nothing is left that
  // could ever wake this hub but mail from other threads (see KeepAlive).
  bool Turn(bool wait = true);

  // Hub::WaitForMail()
  //
  // Sleeps until another thread posts something, or `at_most` so long; for a hub whose
  // Turn() said false.
  void WaitForMail(absl::Duration at_most = absl::InfiniteDuration());

  // Hub::Run()
  //
  // Turns until nothing is left to wait for, or until Stop(). For hubs without greenlets.
  void Run();
  void Stop() { stopped_ = true; }

  // What could still wake the hub: each AddWaker() needs one RemoveWaker(). Descriptor
  // waits, started watchers and operations that other threads will complete count here;
  // timers count by themselves.
  void AddWaker() { ++wakers_; }
  void RemoveWaker() { --wakers_; }
  bool HasWakers() const { return wakers_ > 0 || timers_.referenced() > 0; }

  // Hub::HasMail()
  //
  // Whether something was posted that was not delivered yet.
  bool HasMail() const { return !mailbox_->empty(); }

  MonotonicNanos Now() const { return options_.clock->Now(); }

  const std::string& name() const { return mailbox_->hub_name(); }
  HubHandle handle() const { return HubHandle(mailbox_); }
  const HubOptions& options() const { return options_; }
  Loop& loop() { return loop_; }
  TimerQueue& timers() { return timers_; }

  // For the layer above, whose greenlets switch to one another without coming back here.
  //
  // TakeReady() pops the next Runnable whose run function is `kind`; null if there is
  // none, if something else is next, or if the slice is spent: the caller then returns
  // to the hub's stack.
  Runnable* TakeReady(Runnable::Run kind) {
    Runnable* r = ready_.front();
    if (r == nullptr || r->run != kind || budget_ == 0) return nullptr;
    --budget_;
    return ready_.PopFront();
  }

  // RotateReady() is TakeReady() with MakeReady(r) at once; null: neither was done.
  Runnable* RotateReady(Runnable* r, Runnable::Run kind) {
    Runnable* first = ready_.front();
    if (first == nullptr || first->run != kind || budget_ == 0) return nullptr;
    --budget_;
    return ready_.Rotate(r);
  }
  // TakeReadyQueue() empties the queue: for the end of a hub.
  RunQueue TakeReadyQueue() { return std::exchange(ready_, RunQueue()); }
  Runnable* FirstReady() const { return ready_.front(); }

  // How many turns there were, for statistics and tests.
  uint64_t turns() const { return turns_; }

 private:
  bool RunReady();
  void AdaptBudget(MonotonicNanos took);
  void Poll(bool wait);
  void FireTimers();

  const HubOptions options_;
  const std::shared_ptr<Mailbox> mailbox_;
  Loop loop_;
  TimerQueue timers_;
  RunQueue ready_;
  // How many Runnables may still run in this slice, and how many a slice gets: a count,
  // so that a switch does not read the clock; adapted so that it takes about a slice.
  uint32_t budget_ = 0;
  uint32_t slice_budget_ = 64;
  // Stands in the queue behind what was ready when a slice was spent.
  Runnable mark_{nullptr};
  bool mark_queued_ = false;
  int wakers_ = 0;
  bool stopped_ = false;
  uint64_t turns_ = 0;
  MonotonicNanos wake_at_ = 0;  // what loop_.WakeAfter() was last told
  IoWatcher mail_watcher_;
};

// KeepAlive
//
// Says that another thread will post to this hub: while one exists the hub waits, and
// does not conclude that nothing could ever wake it.
//
// Threads: the hub's.
class KeepAlive {
 public:
  explicit KeepAlive(Hub* hub) : hub_(hub) { hub_->AddWaker(); }
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  ~KeepAlive() { hub_->RemoveWaker(); }

 private:
  Hub* const hub_;
};

}  // namespace grove

#endif  // GROVE_HUB_HUB_H_
