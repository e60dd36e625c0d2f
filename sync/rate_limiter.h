#ifndef GROVE_SYNC_RATE_LIMITER_H_
#define GROVE_SYNC_RATE_LIMITER_H_

#include <optional>

#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/hub/timer_queue.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// RateLimiter
//
// Lets so many through per time: a bucket of tokens that fills at a steady rate.
//
//   RateLimiter limiter({.tokens = 100, .per = absl::Seconds(1), .burst = 20});
//   for (const Request& r : requests) {
//     limiter.Acquire();
//     Send(r);
//   }
//
// Tokens are given in the order in which they were asked for; one who wants many is not
// passed by those who want few.
//
// Threads: any; see docs/sync.md. Time is that of the home's clock.
class RateLimiter {
 public:
  struct Options {
    double tokens = 1;  // so many
    absl::Duration per = absl::Seconds(1);
    // How many can be there at once; it begins with them. 0: as many as `tokens`.
    double burst = 0;
  };

  // A rate or a burst that is not positive, or not finite, is a fatal error.
  explicit RateLimiter(const Options& options);
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~RateLimiter() { sync_internal::CheckDestroy(home_, line_, "RateLimiter", this); }

  // RateLimiter::Acquire()
  //
  // Takes `n` tokens. More than the burst can never be there: a fatal error.
  //
  // Blocks: until they are there.
  // Deadline: returns false; none were taken. Kill: throws; none were taken.
  bool Acquire(double n = 1, Deadline deadline = {});
  bool TryAcquire(double n = 1) { return Acquire(n, Deadline::Passed()); }

  // What is there now.
  double available();

 private:
  class AcquireOperation;
  struct RefillTimer : Timer {
    explicit RefillTimer(RateLimiter* l) : Timer(&OnFire), limiter(l) {}
    static void OnFire(Timer* timer);
    RateLimiter* const limiter;
  };

  void Refill();
  bool Take(double n);
  void Serve();
  void SetTimer();

  const double per_nanosecond_;
  const double burst_;
  double tokens_;
  std::optional<MonotonicNanos> filled_at_;  // on the home's clock
  sync_internal::WaiterList line_;
  RefillTimer timer_{this};
  sync_internal::Home home_;  // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_RATE_LIMITER_H_
