#ifndef GROVE_NET_INTERNAL_CONNECTION_POOL_INL_H_
#define GROVE_NET_INTERNAL_CONNECTION_POOL_INL_H_

#include <algorithm>
#include <concepts>
#include <limits>
#include <utility>

#include "grove/green/deadline_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"
#include "grove/net/connection_pool.h"

namespace grove::net {

// In line: what is given back is put into it.
template <typename T>
class ConnectionPool<T>::Waiter final : public LineWaiter {
 public:
  explicit Waiter(ConnectionPool* pool) : LineWaiter(pool) {}
  std::optional<Entry> entry;
};

// A place that is taken, until it is left or kept by a connection.
template <typename T>
class ConnectionPool<T>::Place {
 public:
  explicit Place(ConnectionPool* pool) : pool_(pool) {}
  Place(const Place&) = delete;
  ~Place() {
    if (pool_) pool_->LeavePlace();
  }
  void Keep() { pool_ = nullptr; }

 private:
  ConnectionPool* pool_;
};

template <typename T>
ConnectionPool<T>::ConnectionPool(Options options)
    : ConnectionPoolBase(options.name, options.max_size), options_(std::move(options)) {
  GROVE_CHECK(options_.connect != nullptr, "a ConnectionPool without connect: ", name_);
  if (options_.min_idle > 0) NeedMaintenance(0);
}

template <typename T>
ConnectionPool<T>::~ConnectionPool() {
  Shield shield;
  if (maintainer_) maintainer_.Kill();
  CheckMayEnd(size_ - idle_.size());
  idle_.clear();  // here, where it is shielded
}

// --- what is idle --------------------------------------------------------------------

template <typename T>
bool ConnectionPool<T>::IsAlive(Entry& entry) const {
  if (options_.is_alive) return options_.is_alive(entry.connection);
  if constexpr (std::derived_from<T, Stream>) {
    return NothingHasArrived(entry.connection);
  } else {
    return true;
  }
}

template <typename T>
typename ConnectionPool<T>::Entry ConnectionPool<T>::TakeIdle() {
  Entry entry = std::move(idle_.back());
  idle_.pop_back();
  if (idle_.size() < options_.min_idle) Tell();
  return entry;
}

// Before anything of it blocks, the pool's state is right: T's destructor may.
template <typename T>
void ConnectionPool<T>::GiveBack(Entry entry) {
  if (closed_ || entry.generation != generation_ || Now() >= entry.dies_at) {
    if (!closed_) ++counts_.expired;
    const Place place(this);  // left when the connection has gone
    const Entry gone = std::move(entry);
  } else if (auto* waiter = static_cast<Waiter*>(FirstInLine())) {
    waiter->has_place = true;
    entry.idle_since = Now();
    waiter->entry.emplace(std::move(entry));
    waiter->Notify();
  } else if (idle_.size() >= options_.max_idle) {
    ++counts_.surplus;
    const Place place(this);
    const Entry gone = std::move(entry);
  } else {
    entry.idle_since = Now();
    idle_.push_back(std::move(entry));
    NeedMaintenance(ExpiryOf(idle_.back()));
  }
}

template <typename T>
void ConnectionPool<T>::DropExpired() {
  const MonotonicNanos now = Now();
  const auto too_old = [&](const Entry& e) {
    return e.generation != generation_ || now >= ExpiryOf(e);
  };
  for (;;) {
    const auto it = std::find_if(idle_.begin(), idle_.end(), too_old);
    if (it == idle_.end()) return;
    ++counts_.expired;
    const Place place(this);
    const Entry gone = std::move(*it);
    idle_.erase(it);
  }
}

template <typename T>
void ConnectionPool<T>::DropIdle() {
  CheckHome();
  ++generation_;
  DropExpired();
}

// --- lending -------------------------------------------------------------------------

// A place has been taken for it.
template <typename T>
absl::StatusOr<typename ConnectionPool<T>::Entry> ConnectionPool<T>::Connect(
    Deadline deadline) {
  const uint64_t generation = generation_;
  absl::StatusOr<T> made = options_.connect(deadline);
  if (!made.ok()) {
    ++counts_.failed;
    return std::move(made).status();
  }
  ++counts_.connected;
  return Entry{*std::move(made), EndOfLife(options_.max_lifetime), generation};
}

template <typename T>
absl::StatusOr<typename ConnectionPool<T>::Lease> ConnectionPool<T>::Get(
    Deadline deadline) {
  CheckHome();
  if (closed_) return Closed();
  std::optional<Entry> idle;
  if (!SomebodyWaits() && !idle_.empty()) {
    idle = TakeIdle();
  } else if (!SomebodyWaits() && HasPlace()) {
    TakePlace();
  } else {
    Waiter waiter(this);
    if (!Wait(waiter, deadline)) {
      ++counts_.late;
      return Late();
    }
    if (!waiter.has_place) return Closed();
    idle = std::move(waiter.entry);
  }
  Place place(this);
  while (idle) {
    // It has been looked at by nobody while it was idle, or since it was given back.
    const bool fresh = idle->generation == generation_ && Now() < ExpiryOf(*idle);
    if (fresh && IsAlive(*idle) && !closed_) {
      place.Keep();
      ++counts_.lent;
      return Lease(this, *std::move(idle));
    }
    ++(fresh ? counts_.broken : counts_.expired);
    idle.reset();
    if (closed_) return Closed();
    // Another one, which has a place of its own; else a new one takes this place.
    if (!idle_.empty()) {
      idle = TakeIdle();
      LeavePlace();
    }
  }
  absl::StatusOr<Entry> made = Connect(deadline);
  if (!made.ok()) return std::move(made).status();
  if (closed_) return Closed();
  place.Keep();
  ++counts_.lent;
  return Lease(this, *std::move(made));
}

template <typename T>
void ConnectionPool<T>::Lease::GiveBack() {
  ConnectionPool* pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  pool->CheckHome();
  Entry entry = *std::move(entry_);
  entry_.reset();
  pool->GiveBack(std::move(entry));
}

template <typename T>
void ConnectionPool<T>::Lease::Discard() {
  ConnectionPool* pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  pool->CheckHome();
  ++pool->counts_.discarded;
  const Place place(pool);
  entry_.reset();
}

// --- the pool's own greenlet, and its end --------------------------------------------

template <typename T>
void ConnectionPool<T>::NeedMaintenance(MonotonicNanos when) {
  if (closed_ || when == std::numeric_limits<MonotonicNanos>::max()) return;
  if (maintainer_ && !maintainer_.ready()) {
    TellAt(when);
  } else {
    // It outlives who is the first to need it, and what time that one has.
    WithoutDeadline([this] {
      maintainer_ = Spawn({.name = name_ + " maintainer"}, [this] { Maintain(); });
    });
  }
}

template <typename T>
MonotonicNanos ConnectionPool<T>::ExpiryOf(const Entry& entry) const {
  if (options_.idle_timeout == absl::InfiniteDuration()) return entry.dies_at;
  return std::min(entry.dies_at,
                  entry.idle_since + absl::ToInt64Nanoseconds(options_.idle_timeout));
}

template <typename T>
MonotonicNanos ConnectionPool<T>::NextExpiry() const {
  MonotonicNanos next = std::numeric_limits<MonotonicNanos>::max();
  for (const Entry& e : idle_) next = std::min(next, ExpiryOf(e));
  return next;
}

// Nobody waits for it: what is thrown is a failure as any other.
template <typename T>
absl::StatusOr<typename ConnectionPool<T>::Entry> ConnectionPool<T>::ConnectUnasked() {
  try {
    return Connect(absl::Minutes(1));
  } catch (const Interrupt&) {
    throw;
  } catch (...) {
    return absl::UnknownError("connect() has thrown");
  }
}

template <typename T>
void ConnectionPool<T>::Maintain() {
  absl::Duration delay = absl::Seconds(1);
  MonotonicNanos not_before = 0;  // the next try to connect
  while (!closed_) {
    DropExpired();
    MonotonicNanos next = NextExpiry();
    if (idle_.size() < std::min(options_.min_idle, options_.max_idle) && HasPlace()) {
      if (Now() >= not_before) {
        TakePlace();
        Place place(this);
        absl::StatusOr<Entry> made = ConnectUnasked();
        if (made.ok()) {
          delay = absl::Seconds(1);
          place.Keep();
          GiveBack(*std::move(made));
          continue;
        }
        not_before = Now() + absl::ToInt64Nanoseconds(delay);
        delay = std::min(delay * 2, absl::Duration(absl::Minutes(1)));
      }
      next = std::min(next, not_before);
    }
    WaitToBeTold(next);
  }
}

template <typename T>
size_t ConnectionPool<T>::Close(Deadline deadline) {
  CheckHome();
  CloseLine();
  while (!idle_.empty()) {
    const Place place(this);
    const Entry gone = TakeIdle();
  }
  if (maintainer_) maintainer_.KillSoon();
  WaitUntilEmpty(deadline);
  return size_;
}

template <typename T>
ConnectionPoolStatistics ConnectionPool<T>::statistics() const {
  ConnectionPoolStatistics s = counts_;
  s.size = size_;
  s.idle = idle_.size();
  s.waiting = waiting_;
  return s;
}

}  // namespace grove::net

#endif  // GROVE_NET_INTERNAL_CONNECTION_POOL_INL_H_
