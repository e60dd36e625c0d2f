#include "grove/hub/hub.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/hub/internal/shuffled_queue.h"

namespace grove {
namespace {

constinit thread_local hub_internal::PerThread<Hub*> t_hub;

// How many switches may come between two looks at the mailbox and the clock.
constexpr uint32_t kMailInterval = 64;
constexpr uint32_t kMinSliceBudget = 1;
constexpr uint32_t kMaxSliceBudget = 1 << 16;

// With a seed, the hub looks at timers, mail and I/O after so many runs on average.
constexpr uint64_t kShuffledSlice = 16;

constinit Setting<absl::Duration> slice(
    "slice", "GROVE_SLICE", "1ms",
    "How long ready work may run before timers and I/O are looked at.",
    {.min = absl::Microseconds(1), .max = absl::Seconds(1)});

constinit Setting<int64_t> operations_per_turn(
    "operations_per_turn", "GROVE_OPERATIONS_PER_TURN", "64",
    "How many operations that succeed at once a greenlet may do in a row before others "
    "run.",
    {.min = 1, .max = 1'000'000});

constexpr Choice<LoopExitPolicy> kLoopExitPolicies[] = {
    {"when-certain", LoopExitPolicy::kWhenCertain},
    {"always", LoopExitPolicy::kAlways},
    {"never", LoopExitPolicy::kNever},
};
constinit Setting<LoopExitPolicy> loop_exit(
    "loop_exit", "GROVE_LOOP_EXIT", "when-certain",
    "When the main greenlet is told that nothing could ever wake its hub.",
    kLoopExitPolicies);

const bool declared = Config::Declare({&slice, &operations_per_turn, &loop_exit});

std::string HubName(std::string name) {
  static std::atomic<int> counter{0};
  const int n = counter.fetch_add(1);
  return name.empty() ? absl::StrCat("hub-", n) : std::move(name);
}

struct CallbackRunnable : Runnable {
  explicit CallbackRunnable(absl::AnyInvocable<void()> f)
      : Runnable(&RunCallback), fn(std::move(f)) {}
  static void RunCallback(Runnable* r) {
    std::unique_ptr<CallbackRunnable> self(static_cast<CallbackRunnable*>(r));
    self->fn();
  }
  absl::AnyInvocable<void()> fn;
};

}  // namespace

absl::Duration hub_internal::ConfiguredSlice() { return slice.Get(); }

int hub_internal::ConfiguredOperationsPerTurn() {
  return static_cast<int>(operations_per_turn.Get());
}

LoopExitPolicy hub_internal::ConfiguredLoopExit() { return loop_exit.Get(); }

Hub::Hub(HubOptions options)
    : options_(std::move(options)),
      mailbox_(std::make_shared<Mailbox>(HubName(options_.name))),
      slice_began_(options_.clock->Now()),
      shuffled_(options_.seed
                    ? std::make_unique<hub_internal::ShuffledQueue>(*options_.seed)
                    : nullptr) {
  GROVE_CHECK(t_hub == nullptr, "hub '", name(), "' is made on a thread that has hub '",
              t_hub->name(), "'");
  GROVE_CHECK(options_.operations_per_turn > 0, "operations_per_turn must be positive");
  t_hub = this;
  hub_internal::SetThreadClock(options_.clock);
  WatchMailbox();
  mailbox_->set_wakes_once(loop_.TellOfEachEventOnce(mail_watcher_));
}

void Hub::WatchMailbox() {
  mail_watcher_.Set(
      &loop_, mailbox_->wake_fd(), kReadable,
      [](void* mailbox, int) { static_cast<Mailbox*>(mailbox)->OnWakeup(); },
      mailbox_.get());
  GROVE_CHECK(mail_watcher_.Start(), "the mailbox of hub '", name(), "' is closed");
}

Hub::~Hub() {
  GROVE_CHECK(t_hub == this, "hub '", name(), "' is destroyed on another thread");
  mailbox_->Close();
  RunQueue left = TakeReadyQueue();
  while (!left.empty()) {
    Runnable* r = left.PopFront();
    if (r->run == &CallbackRunnable::RunCallback)
      delete static_cast<CallbackRunnable*>(r);
  }
  mail_watcher_.Stop();
  hub_internal::SetThreadClock(nullptr);
  t_hub = nullptr;
}

Hub* Hub::Current() { return t_hub; }

void Hub::RunCallback(absl::AnyInvocable<void()> fn) {
  MakeReady(new CallbackRunnable(std::move(fn)));
}

bool Hub::HasReady() const {
  if (!arrived_.empty() || (shuffled_ && !shuffled_->empty())) return true;
  const Runnable* first = ready_.front();
  return first != nullptr && (first != &mark_ || first->next != nullptr);
}

RunQueue Hub::TakeReadyQueue() {
  ready_.Append(&arrived_);
  RunQueue all = std::exchange(ready_, RunQueue());
  if (shuffled_) {
    shuffled_->TakeFrom(&all);
    while (!shuffled_->empty()) all.PushBack(shuffled_->Pop());
  }
  return all;
}

void Hub::ForgetInChild() {
  TakeReadyQueue();
  mark_.next = nullptr;
  mark_queued_ = false;
  wakers_ = 0;
  ++life_;
  mail_watcher_.Stop();
  mailbox_->ForgetInChild();
  WatchMailbox();
  loop_.Reinit();
}

void Hub::Run() {
  stopped_ = false;
  while (!stopped_ && Turn()) {
  }
}

bool Hub::Turn(bool wait) {
  ++meter_.turns;
  if (ABSL_PREDICT_FALSE(!observers_.empty())) TellHasRun();  // who ran before the first
  if (!RunReady()) {
    mailbox_->DeliverAll();
    // What can be read wins against its own deadline: look before a timer fires.
    if (timers_.armed() > 0 && *timers_.NextLook() <= Now()) {
      ++meter_.polls;
      Look(false);
    }
    FireTimers();
    return true;
  }
  wait = wait && !HasReady() && !stopped_;
  if (wait && mailbox_->empty() && !HasWakers()) return false;
  Poll(wait);
  return true;
}

// True when it is time to poll: nothing is ready any more, or a slice was spent and all
// that was ready then has run since. Until it has, a poll would tell once more, at a
// price for each, of descriptors whose readers were woken and have not come to read.
bool Hub::RunReady() {
  if (ready_.empty() && !HasReady()) return true;
  const MonotonicNanos start = Clock::ReadMonotonic();
  slice_began_ = options_.clock->manual() ? Now() : start;
  if (round_began_ == 0) round_began_ = start;
  bool all_ran = true;
  if (ABSL_PREDICT_FALSE(shuffled_ != nullptr)) {
    RunShuffled();
  } else if (ABSL_PREDICT_FALSE(!observers_.empty())) {
    all_ran = RunObserved();
  } else {
    all_ran = RunSlice(start);
  }
  AddUpRuns();
  const MonotonicNanos now = Clock::ReadMonotonic();
  meter_.slices.Add(now - start);
  if (all_ran) {
    meter_.rounds.Add(now - round_began_);
    round_began_ = 0;
  } else if (observers_.empty()) {
    AdaptBudget(now - start);
  }
  return all_ran;
}

// What a slice allows. True if all that was ready has run.
bool Hub::RunSlice(MonotonicNanos start) {
  uint32_t left = slice_budget_;
  const auto take_part = [&] {
    budget_ = uncounted_ = std::min(left, kMailInterval);
    left -= uncounted_;
  };
  take_part();
  while (!ready_.empty()) {
    if (budget_ == 0) {
      // The clock, too, for those that run now may take far longer than those before.
      if (left == 0 ||
          Clock::ReadMonotonic() - start >= absl::ToInt64Nanoseconds(options_.slice)) {
        QueueMark();
        return false;
      }
      AddUpRuns();
      // Mail is looked at more often than the loop: who waits for an answer from a hub
      // that is busy does not wait for a slice.
      if (!mailbox_->empty()) mailbox_->DeliverAll();
      take_part();
    }
    --budget_;
    Runnable* r = ready_.PopFront();
    if (r == &mark_) {
      mark_queued_ = false;
      return true;
    }
    r->run(r);
    if (ABSL_PREDICT_FALSE(!observers_.empty())) {  // from now on, RunObserved()
      TellHasRun();
      if (ready_.empty()) return true;
      QueueMark();
      return false;
    }
  }
  return true;
}

// Until nothing is ready, or for a slice whose length the seed decides.
void Hub::RunShuffled() {
  for (;;) {
    shuffled_->TakeFrom(&ready_);
    if (shuffled_->empty()) return;
    RunOne(shuffled_->Pop());
    if (shuffled_->OneIn(kShuffledSlice)) return;
  }
}

// As RunSlice(), with a budget of nothing, so that each run comes back here.
bool Hub::RunObserved() {
  const MonotonicNanos end =
      Clock::ReadMonotonic() + absl::ToInt64Nanoseconds(options_.slice);
  while (!ready_.empty()) {
    Runnable* r = ready_.PopFront();
    if (r == &mark_) {
      mark_queued_ = false;
      return true;
    }
    RunOne(r);
    if (Clock::ReadMonotonic() >= end) {
      QueueMark();
      return false;
    }
  }
  return true;
}

void Hub::RunOne(Runnable* r) {
  ++meter_.runs;
  // An observer may come or go meanwhile.
  if (!observers_.empty()) {
    const MonotonicNanos now = Now();
    for (RunObserver* o : observers_) o->Runs(r, now);
  }
  r->run(r);
  TellHasRun();
}

void Hub::TellHasRun() {
  if (observers_.empty()) return;
  const MonotonicNanos now = Now();
  for (RunObserver* o : observers_) o->HasRun(now);
}

void Hub::AddRunObserver(RunObserver* observer) {
  observers_.push_back(observer);
  // What runs now comes back when it stops.
  AddUpRuns();
  budget_ = uncounted_ = 0;
}

void Hub::RemoveRunObserver(RunObserver* observer) {
  observers_.erase(std::find(observers_.begin(), observers_.end(), observer));
}

void Hub::QueueMark() {
  if (!mark_queued_) MakeReady(&mark_);
  mark_queued_ = true;
}

void Hub::AddUpRuns() {
  const uint32_t budget = budget_;
  meter_.runs += uncounted_ - budget;
  uncounted_ = budget;
}

void Hub::AdaptBudget(MonotonicNanos took) {
  // As many as would have taken a slice, but no more than twice as many at a time.
  const double slice = absl::ToDoubleNanoseconds(options_.slice);
  const double factor = std::min(slice / std::max<double>(took, 1), 2.0);
  slice_budget_ = static_cast<uint32_t>(std::clamp(
      slice_budget_ * factor, double{kMinSliceBudget}, double{kMaxSliceBudget}));
}

void Hub::Poll(bool wait) {
  if (wait && timers_.armed() > 0) {
    const MonotonicNanos next = *timers_.NextLook();
    const MonotonicNanos now = Now();
    if (next <= now) {
      wait = false;
    } else if (options_.clock->manual()) {
      ManualClock* clock = static_cast<ManualClock*>(options_.clock);
      if (clock->auto_advance()) {
        // Time does not pass by itself: look for I/O and mail, and if there is none go
        // to the next timer.
        Look(false);
        wait = false;
        if (ready_.empty() && mailbox_->empty()) clock->AdvanceTo(next);
      } else {
        // Another thread may move the clock, which wakes nobody: look now and then.
        loop_.WakeAfter(absl::Milliseconds(1));
      }
    } else if (!loop_.wake_set() || next < wake_at_) {
      // A wakeup that is set too early (its timer was cancelled) costs one idle turn,
      // less than setting it anew each time.
      wake_at_ = next;
      loop_.WakeAfter(absl::Nanoseconds(next - now));
    }
  }
  ++meter_.polls;
  if (wait) wait = mailbox_->PrepareToSleep();
  Look(wait);
  if (wait) mailbox_->FinishSleep();
  // I/O first: what became ready in the same turn wins against its own timeout.
  mailbox_->DeliverAll();
  FireTimers();
}

void Hub::Look(bool wait) {
  loop_.Poll(wait);
  ready_.Append(&arrived_);
}

void Hub::FireTimers() {
  if (timers_.armed() > 0) timers_.FireDue(Now());
}

void Hub::WaitForMail(absl::Duration at_most) {
  if (at_most != absl::InfiniteDuration()) {
    wake_at_ = Now() + absl::ToInt64Nanoseconds(at_most);
    loop_.WakeAfter(at_most);
  }
  Poll(true);
}

}  // namespace grove
