#include "grove/sync/rate_limiter.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "grove/hub/clock.h"
#include "grove/hub/internal/check.h"

namespace grove {

using sync_internal::NameOf;
using sync_internal::Operation;
using sync_internal::Scheduler;

namespace {

// Sums of what was added in many small steps may fall short of what they should be.
constexpr double kRounding = 1e-9;

}  // namespace

class RateLimiter::AcquireOperation final : public Operation {
 public:
  AcquireOperation(RateLimiter* l, double n) : Operation(&l->line_), limiter_(l), n_(n) {}
  bool Try() override {
    limiter_->Refill();
    return limiter_->line_.empty() && limiter_->Take(n_);
  }
  void Enlist() override {
    Operation::Enlist();
    limiter_->SetTimer();
  }
  void Cancel() override {
    Operation::Cancel();
    limiter_->Serve();  // those behind may want less
  }
  void Abandon() override { Operation::Cancel(); }
  std::string Describe() const override {
    return absl::StrCat(n_, " tokens of ", NameOf("RateLimiter", limiter_));
  }

 private:
  friend class RateLimiter;
  RateLimiter* const limiter_;
  const double n_;
};

RateLimiter::RateLimiter(const Options& options)
    : per_nanosecond_(options.tokens / absl::ToDoubleNanoseconds(options.per)),
      burst_(options.burst == 0 ? options.tokens : options.burst),
      tokens_(burst_) {
  GROVE_CHECK(options.tokens > 0 && options.per > absl::ZeroDuration() &&
                  std::isfinite(per_nanosecond_) && per_nanosecond_ > 0 &&
                  std::isfinite(burst_) && burst_ > 0,
              "a RateLimiter of ", options.tokens, " tokens per ",
              absl::FormatDuration(options.per), " and bursts of ", options.burst);
}

bool RateLimiter::Acquire(double n, Deadline deadline) {
  GROVE_CHECK(n >= 0 && n <= burst_, "acquiring ", n, " tokens of ",
              NameOf("RateLimiter", this), ", which has at most ", burst_);
  AcquireOperation op(this, n);
  return home_.Perform(&op, deadline);
}

double RateLimiter::available() {
  double available;
  home_.Ask([&] {
    Refill();
    available = tokens_;
  });
  return available;
}

void RateLimiter::Refill() {
  const MonotonicNanos now = hub_internal::ThreadClock().Now();
  if (filled_at_.has_value() && now > *filled_at_) {
    tokens_ = std::min(
        burst_, tokens_ + static_cast<double>(now - *filled_at_) * per_nanosecond_);
  }
  filled_at_ = now;
}

bool RateLimiter::Take(double n) {
  if (tokens_ < n * (1 - kRounding)) return false;
  tokens_ = std::max(0.0, tokens_ - n);
  return true;
}

void RateLimiter::Serve() {
  Refill();
  while (auto* first = static_cast<AcquireOperation*>(line_.front())) {
    if (!Take(first->n_)) break;
    line_.PopFront();
    const bool last = line_.empty();
    if (last) SetTimer();
    first->Notify();
    if (last) return;  // see WaiterList::NotifyAll()
  }
  SetTimer();
}

// For the first in line.
void RateLimiter::SetTimer() {
  TimerQueue& timers = Scheduler::Get().hub().timers();
  timers.Cancel(&timer_);
  const auto* first = static_cast<AcquireOperation*>(line_.front());
  if (first == nullptr) return;
  const double wait = std::ceil((first->n_ - tokens_) / per_nanosecond_);
  constexpr double kLongest = 1e18;  // 30 years
  timers.Arm(&timer_,
             *filled_at_ + static_cast<MonotonicNanos>(std::min(wait, kLongest)));
}

void RateLimiter::RefillTimer::OnFire(Timer* timer) {
  static_cast<RefillTimer*>(timer)->limiter->Serve();
}

}  // namespace grove
