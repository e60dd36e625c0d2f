#include "grove/hub/hub.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove {
namespace {

constinit thread_local Hub* t_hub = nullptr;

constexpr uint32_t kMinSliceBudget = 1;
constexpr uint32_t kMaxSliceBudget = 1 << 16;

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

Hub::Hub(HubOptions options)
    : options_(std::move(options)),
      mailbox_(std::make_shared<Mailbox>(HubName(options_.name))) {
  GROVE_CHECK(t_hub == nullptr, "hub '", name(), "' is made on a thread that has hub '",
              t_hub->name(), "'");
  GROVE_CHECK(options_.operations_per_turn > 0, "operations_per_turn must be positive");
  t_hub = this;
  hub_internal::SetThreadClock(options_.clock);
  mail_watcher_.Set(
      &loop_, mailbox_->wake_fd(), kReadable,
      [](void* mailbox, int) { static_cast<Mailbox*>(mailbox)->ClearWakeup(); },
      mailbox_.get());
  GROVE_CHECK(mail_watcher_.Start(), "the mailbox of hub '", this->name(), "' is closed");
}

Hub::~Hub() {
  GROVE_CHECK(t_hub == this, "hub '", name(), "' is destroyed on another thread");
  mailbox_->Close();
  while (!ready_.empty()) {
    Runnable* r = ready_.PopFront();
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

void Hub::Run() {
  stopped_ = false;
  while (!stopped_ && Turn()) {
  }
}

bool Hub::Turn(bool wait) {
  ++turns_;
  if (!RunReady()) {
    mailbox_->DeliverAll();
    // What can be read wins against its own deadline: look before a timer fires.
    if (timers_.armed() > 0 && *timers_.NextLook() <= Now()) loop_.Poll(false);
    FireTimers();
    return true;
  }
  wait = wait && ready_.empty() && !stopped_;
  if (wait && mailbox_->empty() && !HasWakers()) return false;
  Poll(wait);
  return true;
}

// True when it is time to poll: nothing is ready any more, or a slice was spent and all
// that was ready then has run since. Until it has, a poll would tell once more, at a
// price for each, of descriptors whose readers were woken and have not come to read.
bool Hub::RunReady() {
  if (ready_.empty()) return true;
  const MonotonicNanos start = Clock::ReadMonotonic();
  budget_ = slice_budget_;
  while (!ready_.empty()) {
    if (budget_ == 0) {
      AdaptBudget(Clock::ReadMonotonic() - start);
      if (!mark_queued_) MakeReady(&mark_);
      mark_queued_ = true;
      return false;
    }
    --budget_;
    Runnable* r = ready_.PopFront();
    if (r == &mark_) {
      mark_queued_ = false;
      return true;
    }
    r->run(r);
  }
  return true;
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
        loop_.Poll(false);
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
  if (wait) wait = mailbox_->PrepareToSleep();
  loop_.Poll(wait);
  if (wait) mailbox_->FinishSleep();
  // I/O first: what became ready in the same turn wins against its own timeout.
  mailbox_->DeliverAll();
  FireTimers();
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
