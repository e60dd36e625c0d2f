#ifndef GROVE_GREEN_DEADLINE_SCOPE_H_
#define GROVE_GREEN_DEADLINE_SCOPE_H_

#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/context.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/hub/deadline.h"

// Deadlines that are inherited: one budget for a request, whatever it calls and spawns.
namespace grove {

// CurrentDeadline()
//
// Until when this greenlet has to be done, by the innermost DeadlineScope around it or
// around the Spawn() that it comes from; none if there is no such scope. To be sent along
// with what is asked of others:
//
//   request.set_timeout(RemainingTime());
//
// Threads: any; elsewhere than on a hub there is none.
Deadline CurrentDeadline();

// RemainingTime()
//
// What is left until then, never negative; absl::InfiniteDuration() if there is none.
absl::Duration RemainingTime();

// DeadlineScope
//
// A Timeout that what is spawned in the scope inherits. At the deadline the blocking call
// of whoever is in the scope throws TimeoutExpired, as does, in each greenlet that was
// spawned in it, or by those, the blocking call of that one: each is told once, by a
// scope of its own, that lies around its function. A greenlet that ends by this has run
// out of time, which is no error to be reported on stderr: its Get() returns
// kDeadlineExceeded.
//
//   DeadlineScope scope(absl::Seconds(2));
//   Greenlet<Reply> a = Spawn(&AskOne);        // has two seconds
//   Greenlet<Reply> b = Spawn(&AskAnother);    // the same two
//
// A scope never extends the one around it: of both deadlines the earlier counts, and is
// thrown as the expiry of its own scope. WithDeadline() catches what is the scope's own.
// Greenlets that were spawned before the scope began are not affected by it; those that
// are meant to outlive it are spawned by WithoutDeadline(). The moment is one of the
// hub's clock: hubs that share none cannot share deadlines.
//
// Threads: belongs to the greenlet that made it.
class DeadlineScope {
 public:
  // Costs no timer if there is no deadline, neither this nor one in force.
  explicit DeadlineScope(Deadline deadline);
  DeadlineScope(const DeadlineScope&) = delete;
  DeadlineScope& operator=(const DeadlineScope&) = delete;

  // DeadlineScope::deadline()
  //
  // The one in force.
  Deadline deadline() const { return deadline_; }

  // DeadlineScope::Threw()
  //
  // Whether `e` is this scope's expiry, and not that of one around or inside it.
  bool Threw(const TimeoutExpired& e) const { return e.scope() == &timeout_; }

 private:
  const Deadline deadline_;
  ContextScope context_;
  Timeout timeout_;
};

// WithDeadline()
//
// What `fn` returns, or kDeadlineExceeded if `deadline` came first. What `fn` spawns
// inherits the deadline. Other scopes' expiries, kills and exceptions pass through.
//
//   absl::StatusOr<Page> page = WithDeadline(absl::Seconds(2), [&] { return Render(); });
//
// Blocks: as `fn` does.
// Deadline: returns kDeadlineExceeded.
// Kill: throws.
// Threads: any; each has its own hub.
template <typename F>
auto WithDeadline(Deadline deadline, F&& fn) ->
    typename green_internal::GetResult<std::invoke_result_t<F>>::type {
  DeadlineScope scope(deadline);
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::forward<F>(fn)();
      return absl::OkStatus();
    } else {
      return std::forward<F>(fn)();
    }
  } catch (const TimeoutExpired& e) {
    if (!scope.Threw(e)) throw;
    return absl::DeadlineExceededError(e.ToString());
  }
}

// WithoutDeadline()
//
// Calls `fn`, and returns what it returns; what it spawns inherits everything but the
// deadline. For work that a request begins and does not wait for. The scopes around still
// interrupt `fn` itself.
//
// Blocks: as `fn` does.
template <typename F>
std::invoke_result_t<F> WithoutDeadline(F&& fn) {
  return Context(green_internal::InheritedRef::WithDeadline(Context::Current().values(),
                                                            Deadline()))
      .Run(std::forward<F>(fn));
}

}  // namespace grove

#endif  // GROVE_GREEN_DEADLINE_SCOPE_H_
