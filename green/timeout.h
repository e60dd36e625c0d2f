#ifndef GROVE_GREEN_TIMEOUT_H_
#define GROVE_GREEN_TIMEOUT_H_

#include <exception>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/interrupt.h"
#include "grove/hub/deadline.h"
#include "grove/hub/timer_queue.h"

namespace grove {

// TimeoutOptions
struct TimeoutOptions {
  // Thrown instead of TimeoutExpired.
  std::exception_ptr error = nullptr;
  // Whether the timer is a reason for the hub to go on (see SleepOptions::ref).
  bool ref = true;
};

// Timeout
//
// Ends what a greenlet does once a time has passed: its blocking call, or its next one,
// throws TimeoutExpired, once. Scopes nest, and each expiry knows its scope; catch your
// own only:
//
//   Timeout timeout(absl::Seconds(2));
//   try {
//     Fetch();
//   } catch (const TimeoutExpired& e) {
//     if (e.scope() != &timeout) throw;
//     ...
//   }
//
// which WithTimeout() does for you. Code that does not block is not interrupted. I/O
// that becomes ready in the same turn of the hub wins against the timeout.
//
// Threads: belongs to the greenlet that made it.
class Timeout {
 public:
  // Starts at once. absl::InfiniteDuration() never expires and costs no timer; zero and
  // less expire at the next blocking call that has to wait.
  explicit Timeout(absl::Duration after, TimeoutOptions options = {});
  // At a moment, however often it is restarted.
  explicit Timeout(Deadline at, TimeoutOptions options = {});
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;
  ~Timeout() { Cancel(); }

  // Timeout::Cancel()
  //
  // It will not expire any more. If it had, but nothing was thrown yet, nothing will be.
  void Cancel();

  // Timeout::Restart()
  //
  // As new, from now.
  void Restart();

  // Timeout::pending()
  //
  // Whether it is still going to expire, or to throw.
  bool pending() const { return timer_.armed() || expired_; }

  absl::Duration after() const { return after_; }

 private:
  friend class green_internal::Scheduler;

  struct ScopeTimer : Timer {
    explicit ScopeTimer(Timeout* t) : Timer(&Timeout::OnFire), scope(t) {}
    Timeout* const scope;
  };
  static void OnFire(Timer* timer);
  // Throws the expiry of the current greenlet's scopes that came first.
  [[noreturn]] static void ThrowExpired();

  const absl::Duration after_;
  const Deadline at_;  // if it was made with one
  const TimeoutOptions options_;
  green_internal::Core* const core_;
  Timeout* outer_ = nullptr;
  bool listed_ = false;
  bool expired_ = false;  // and not thrown yet
  ScopeTimer timer_{this};
};

// WithTimeout()
//
// What `fn` returns, or kDeadlineExceeded if it took longer than `after`. Other scopes'
// expiries, kills and exceptions pass through.
//
//   absl::StatusOr<Reply> reply = WithTimeout(absl::Seconds(2), [&] { return Ask(); });
//
// Blocks: as `fn` does.
template <typename F>
auto WithTimeout(absl::Duration after, F&& fn) ->
    typename green_internal::GetResult<std::invoke_result_t<F>>::type {
  using T = std::invoke_result_t<F>;
  Timeout timeout(after);
  try {
    if constexpr (std::is_void_v<T>) {
      std::forward<F>(fn)();
      return absl::OkStatus();
    } else {
      return std::forward<F>(fn)();
    }
  } catch (const TimeoutExpired& e) {
    if (e.scope() != &timeout) throw;
    return absl::DeadlineExceededError(e.ToString());
  }
}

// Shield
//
// While one exists, this greenlet is not interrupted: kills and timeouts stay pending,
// and are thrown by the first blocking call after. For what must not be left half done.
//
//   { Shield shield; WriteBoth(a, b); }
class Shield {
 public:
  Shield() : core_(green_internal::Scheduler::Get().current()) { ++core_->shields; }
  Shield(const Shield&) = delete;
  Shield& operator=(const Shield&) = delete;
  ~Shield() { --core_->shields; }

 private:
  green_internal::Core* const core_;
};

// CheckInterrupt()
//
// Throws what is pending for this greenlet, as a blocking call would. For long loops
// that compute: once they have used up a slice, it lets the hub look at its timers and
// others run first, as Yield() does.
void CheckInterrupt();

}  // namespace grove

#endif  // GROVE_GREEN_TIMEOUT_H_
