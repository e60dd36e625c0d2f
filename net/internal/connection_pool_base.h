#ifndef GROVE_NET_INTERNAL_CONNECTION_POOL_BASE_H_
#define GROVE_NET_INTERNAL_CONNECTION_POOL_BASE_H_

#include <cstddef>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/internal/core.h"
#include "grove/hub/clock.h"
#include "grove/hub/deadline.h"

namespace grove::net::net_internal {

// ConnectionPoolBase
//
// What a ConnectionPool has whatever it lends: its places, of which each connection, and
// each that is being made, takes one; and who waits for one.
class ConnectionPoolBase {
 public:
  ConnectionPoolBase(const ConnectionPoolBase&) = delete;
  ConnectionPoolBase& operator=(const ConnectionPoolBase&) = delete;

 protected:
  // A greenlet in line. It is given a place, with or without a connection.
  class LineWaiter : public green_internal::ListedWaiter {
   public:
    explicit LineWaiter(ConnectionPoolBase* pool);
    std::string Describe() const override;
    bool has_place = false;

   protected:
    ~LineWaiter() = default;

   private:
    ConnectionPoolBase* const pool_;
  };

  ConnectionPoolBase(std::string name, size_t max_size);
  ~ConnectionPoolBase() = default;

  void CheckHome() const;
  MonotonicNanos Now() const;
  bool HasPlace() const { return size_ < max_size_; }
  bool SomebodyWaits() const { return !line_.empty(); }
  // Waits in line; false at the deadline.
  bool Wait(LineWaiter& waiter, Deadline deadline);
  LineWaiter* FirstInLine() { return static_cast<LineWaiter*>(line_.PopFront()); }
  // One has gone, or was not made: its place is the next one's in line.
  void LeavePlace();
  void TakePlace() { ++size_; }

  // Nobody gets anything any more.
  void CloseLine();
  // False at the deadline.
  bool WaitUntilEmpty(Deadline deadline);
  absl::Status Closed() const;
  absl::Status Late() const;

  // The moment `lifetime` from now, up to a tenth sooner.
  MonotonicNanos EndOfLife(absl::Duration lifetime);

  // The pool's own greenlet has something to do: now, or at `when`, if that is before
  // what it waits for.
  void Tell();
  void TellAt(MonotonicNanos when) {
    if (when < told_at_) Tell();
  }
  void WaitToBeTold(MonotonicNanos until);

  // Names of what is wrong.
  void CheckMayEnd(size_t lent) const;

  const std::string name_;
  const size_t max_size_;
  size_t size_ = 0;  // places that are taken
  size_t waiting_ = 0;
  bool closed_ = false;

 private:
  green_internal::Scheduler* const home_;
  green_internal::WaiterList line_;
  green_internal::WaiterList empty_waiters_;
  green_internal::WaiterList maintainers_;
  bool told_ = false;
  MonotonicNanos told_at_ = std::numeric_limits<MonotonicNanos>::max();
  double spread_ = 0;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_CONNECTION_POOL_BASE_H_
