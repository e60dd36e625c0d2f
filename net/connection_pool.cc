#include "grove/net/connection_pool.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net {

bool NothingHasArrived(Stream& stream) {
  if (stream.closed()) return false;
  char c;
  const absl::StatusOr<std::optional<size_t>> n = stream.TryRead(absl::MakeSpan(&c, 1));
  return n.ok() && !n->has_value();
}

namespace net_internal {

using green_internal::Scheduler;

ConnectionPoolBase::LineWaiter::LineWaiter(ConnectionPoolBase* pool)
    : ListedWaiter(Scheduler::Get().current(), &pool->line_), pool_(pool) {}

std::string ConnectionPoolBase::LineWaiter::Describe() const {
  return absl::StrCat("one of ", pool_->name_, ", of which ", pool_->size_, " exist");
}

ConnectionPoolBase::ConnectionPoolBase(std::string name, size_t max_size)
    : name_(std::move(name)), max_size_(max_size), home_(&Scheduler::Get()) {
  GROVE_CHECK(max_size > 0, "a ConnectionPool of at most 0: ", name_);
}

void ConnectionPoolBase::CheckHome() const {
  const Scheduler* here = Scheduler::GetIfExists();
  GROVE_CHECK(here == home_, "ConnectionPool '", name_, "' is used on ",
              here ? absl::StrCat("hub '", here->hub_name(), "'") : "another thread",
              ", and not on the hub that made it");
}

MonotonicNanos ConnectionPoolBase::Now() const { return home_->hub().Now(); }

bool ConnectionPoolBase::Wait(LineWaiter& waiter, Deadline deadline) {
  struct Count {
    explicit Count(size_t& n) : n(n) { ++n; }
    ~Count() { --n; }
    size_t& n;
  } count(waiting_);
  return home_->ParkUntil(&waiter, deadline);
}

void ConnectionPoolBase::LeavePlace() {
  --size_;
  if (HasPlace()) {
    if (LineWaiter* w = FirstInLine()) {
      ++size_;
      w->has_place = true;
      w->Notify();
      return;
    }
  }
  if (size_ == 0) empty_waiters_.NotifyAll();
  Tell();
}

void ConnectionPoolBase::CloseLine() {
  closed_ = true;
  line_.NotifyAll();
  Tell();
}

bool ConnectionPoolBase::WaitUntilEmpty(Deadline deadline) {
  while (size_ > 0) {
    if (!WaitIn(empty_waiters_, "connections to be given back", deadline)) return false;
  }
  return true;
}

absl::Status ConnectionPoolBase::Closed() const {
  return absl::FailedPreconditionError(absl::StrCat(name_, ": it is closed"));
}

absl::Status ConnectionPoolBase::Late() const {
  return absl::DeadlineExceededError(
      absl::StrCat(name_, ": none was free in time: there are ", size_, " of ", max_size_,
                   ", and ", waiting_, " others wait"));
}

MonotonicNanos ConnectionPoolBase::EndOfLife(absl::Duration lifetime) {
  if (lifetime == absl::InfiniteDuration()) {
    return std::numeric_limits<MonotonicNanos>::max();
  }
  // The golden ratio's multiples are as far from each other as can be.
  spread_ += 0.6180339887498949;
  if (spread_ >= 1) spread_ -= 1;
  return Now() + absl::ToInt64Nanoseconds(lifetime * (1 - 0.1 * spread_));
}

void ConnectionPoolBase::Tell() {
  told_ = true;
  maintainers_.NotifyAll();
}

void ConnectionPoolBase::WaitToBeTold(MonotonicNanos until) {
  told_at_ = until;
  if (!told_) {
    WaitIn(maintainers_, "connections that grow too old", Deadline::At(until),
           /*ref=*/false);
  }
  told_ = false;
  told_at_ = std::numeric_limits<MonotonicNanos>::max();
}

void ConnectionPoolBase::CheckMayEnd(size_t lent) const {
  if (Scheduler::process_exits()) return;
  GROVE_CHECK(line_.empty(), "ConnectionPool '", name_, "' is destroyed while ",
              line_.front()->Who(), " waits for one");
  GROVE_CHECK(lent == 0, "ConnectionPool '", name_, "' is destroyed while ", lent,
              " of it are lent or being made");
}

}  // namespace net_internal
}  // namespace grove::net
