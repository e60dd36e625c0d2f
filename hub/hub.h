#ifndef GROVE_HUB_HUB_H_
#define GROVE_HUB_HUB_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/hub/clock.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/hub_meter.h"
#include "grove/hub/internal/relaxed.h"
#include "grove/hub/loop.h"
#include "grove/hub/mailbox.h"
#include "grove/hub/run_queue.h"
#include "grove/hub/timer_queue.h"

namespace grove {

enum class LoopExitPolicy;

namespace hub_internal {
class ShuffledQueue;
// What the settings `slice`, `operations_per_turn` and `loop_exit` say.
absl::Duration ConfiguredSlice();
int ConfiguredOperationsPerTurn();
LoopExitPolicy ConfiguredLoopExit();
}  // namespace hub_internal

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

  // Whether nothing can be posted any more, as the hub has ended or is about to. It may
  // be so a moment later.
  bool closed() const { return mailbox_->closed(); }

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
//
// What is not said here is as the settings say (hub/config.h), or as their defaults do.
struct HubOptions {
  // Names the hub in messages; "hub-N" if empty.
  std::string name = {};
  // The clock of everything that waits on this hub. Must outlive it.
  Clock* clock = Clock::Real();
  // How long ready work may run before timers and, once each has had its turn, I/O are
  // looked at; mail is every 64 switches. A target, not a bound: what runs is never taken
  // off its core. A millisecond, by default.
  absl::Duration slice = hub_internal::ConfiguredSlice();
  // How many operations that succeed at once a greenlet may do in a row before it has
  // to let others run. 64, by default.
  int operations_per_turn = hub_internal::ConfiguredOperationsPerTurn();
  // kWhenCertain, by default.
  LoopExitPolicy loop_exit = hub_internal::ConfiguredLoopExit();
  // For tests: what is ready does not run first in, first out, but in an order that this
  // number decides. Each time any of it may be next, Yield() may return at once, and now
  // and then timers, mail and I/O are looked at although something is ready. The same
  // number gives the same order again, exactly so on a ManualClock without I/O and other
  // threads. Costs a detour by the hub's stack per switch; nothing if there is none.
  std::optional<uint64_t> seed = {};
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

  // Hub::MakeReadyByEvent()
  //
  // As MakeReady(), from a callback of the loop, which tells of what came last first: in
  // the order in which it came. Behind it is what others make ready meanwhile.
  void MakeReadyByEvent(Runnable* r) { arrived_.PushFront(r); }

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
  int wakers() const { return wakers_; }

  // Hub::HasReady()
  //
  // Whether anything but what runs now is ready to run.
  bool HasReady() const;

  // Hub::HasMail()
  //
  // Whether something was posted that was not delivered yet.
  bool HasMail() const { return !mailbox_->empty(); }

  // Hub::DeliverMail()
  //
  // Delivers what was posted until now, at once: for a callback that cannot go on before.
  void DeliverMail() { mailbox_->DeliverAll(); }

  // Hub::CloseMailbox()
  //
  // Refuses what is posted from now on, and returns what was not delivered. The
  // destructor does so too; a layer above may want it while it is whole itself.
  void CloseMailbox() { mailbox_->Close(); }
  bool mailbox_closed() const { return mailbox_->closed(); }

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
  // to the hub's stack. Else it calls CountRun() before it switches; apart, for what is
  // published makes the compiler read anew what it knew, so let it come last.
  [[gnu::always_inline]] Runnable* TakeReady(Runnable::Run kind) {
    Runnable* r = ready_.front();
    if (r == nullptr || r->run != kind || budget_ == 0) return nullptr;
    return ready_.PopFront();
  }

  // RotateReady() is TakeReady() with MakeReady(r) at once; null: neither was done.
  [[gnu::always_inline]] Runnable* RotateReady(Runnable* r, Runnable::Run kind) {
    Runnable* first = ready_.front();
    if (ABSL_PREDICT_FALSE(first == nullptr || first->run != kind || budget_ == 0)) {
      return nullptr;
    }
    return ready_.Rotate(r);
  }
  void CountRun() { --budget_; }
  // TakeReadyQueue() empties the queue: for the end of a hub.
  RunQueue TakeReadyQueue();
  Runnable* FirstReady() const { return ready_.front(); }

  // Hub::ForgetInChild(), Hub::CloseInChild()
  //
  // In a forked child. For the hub of the thread that lives on: forgets what was ready,
  // what was posted, and all wakers with their KeepAlives, and takes descriptors of its
  // own from the kernel, so that the parent's hub notices nothing. For all others: what
  // is posted to them fails.
  void ForgetInChild();
  void CloseInChild() { mailbox_->CloseInChild(); }

  // Hub::slice_began()
  //
  // When what runs now was begun with, on the hub's clock: no more than about a slice
  // ago, unless somebody holds up the hub. Costs no look at the clock.
  MonotonicNanos slice_began() const { return slice_began_; }

  // How many turns there were, for statistics and tests.
  uint64_t turns() const { return meter_.turns; }

  // For who looks from another thread, while the hub exists: what it counts; whether it
  // looks for events, and nothing runs; and what changes whenever something else begins
  // to run.
  const hub_internal::HubMeter& meter() const { return meter_; }
  bool asleep() const { return loop_.asleep(); }
  struct Progress {
    uint64_t turns = 0;
    uint64_t runs = 0;
    uint64_t looks = 0;
    uint32_t budget = 0;
    friend bool operator==(const Progress&, const Progress&) = default;
  };
  Progress progress() const {
    return {meter_.turns, meter_.runs, loop_.looks(), budget_.FromElsewhere()};
  }
  size_t timers_armed() const { return timers_.armed_from_elsewhere(); }
  int active_watchers() const { return loop_.active_watchers(); }
  uint64_t letters_delivered() const { return mailbox_->delivered(); }

  // Hub::AddRunObserver()
  //
  // While there are any, each run comes back to the hub's stack, and they are told of its
  // beginning and its end, of the latter maybe more than once. Costs a detour and two
  // looks at the clock per run: for tests.
  class RunObserver {
   public:
    virtual void Runs(Runnable* r, MonotonicNanos now) = 0;
    virtual void HasRun(MonotonicNanos now) = 0;

   protected:
    ~RunObserver() = default;
  };
  void AddRunObserver(RunObserver* observer);
  void RemoveRunObserver(RunObserver* observer);

 private:
  friend class KeepAlive;

  bool RunReady();
  bool RunSlice(MonotonicNanos start);
  void RunShuffled();
  bool RunObserved();
  void RunOne(Runnable* r);
  void TellHasRun();
  void QueueMark();
  void AddUpRuns();
  void AdaptBudget(MonotonicNanos took);
  void Poll(bool wait);
  void Look(bool wait);
  void FireTimers();
  void WatchMailbox();

  const HubOptions options_;
  const std::shared_ptr<Mailbox> mailbox_;
  Loop loop_;
  TimerQueue timers_;
  RunQueue ready_;
  RunQueue arrived_;  // by events of this look; then all of it is ready
  // How many Runnables may still run in this slice, and how many a slice gets: a count,
  // so that a switch does not read the clock; adapted so that it takes about a slice.
  // With a seed there is no budget, so that each switch comes back to the hub's stack.
  hub_internal::Published<uint32_t> budget_{0};
  uint32_t slice_budget_ = 64;
  uint32_t uncounted_ = 0;  // what budget_ was when meter_.runs was last added up
  // Stands in the queue behind what was ready when a slice was spent.
  Runnable mark_{nullptr};
  MonotonicNanos slice_began_;
  bool mark_queued_ = false;
  int wakers_ = 0;
  bool stopped_ = false;
  uint32_t life_ = 0;  // how many forks it has lived through
  hub_internal::HubMeter meter_;
  // When the hub had looked for events, if not all that was ready then has run; else 0.
  MonotonicNanos round_began_ = 0;
  std::vector<RunObserver*> observers_;
  MonotonicNanos wake_at_ = 0;  // what loop_.WakeAfter() was last told
  IoWatcher mail_watcher_;
  // Of a hub with a seed: what was ready when something was last taken from it.
  const std::unique_ptr<hub_internal::ShuffledQueue> shuffled_;
};

// KeepAlive
//
// Says that another thread will post to this hub: while one exists the hub waits, and
// does not conclude that nothing could ever wake it.
//
// Threads: the hub's.
class KeepAlive {
 public:
  explicit KeepAlive(Hub* hub) : hub_(hub), life_(hub->life_) { hub_->AddWaker(); }
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  ~KeepAlive() {
    if (life_ == hub_->life_) hub_->RemoveWaker();
  }

 private:
  Hub* const hub_;
  const uint32_t life_;
};

}  // namespace grove

#endif  // GROVE_HUB_HUB_H_
