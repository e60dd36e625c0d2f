#ifndef GROVE_NET_CONNECTION_POOL_H_
#define GROVE_NET_CONNECTION_POOL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/connection_pool_base.h"
#include "grove/net/stream.h"

namespace grove::net {

// ConnectionPoolStatistics
struct ConnectionPoolStatistics {
  size_t size = 0;         // that exist, or are being made
  size_t idle = 0;         // that nobody uses
  size_t waiting = 0;      // greenlets in line
  uint64_t lent = 0;       // leases, all together
  uint64_t connected = 0;  // that were made
  uint64_t failed = 0;     // that could not be made
  uint64_t discarded = 0;  // by Lease::Discard()
  uint64_t broken = 0;     // found so by `is_alive`
  uint64_t expired = 0;    // over idle_timeout or max_lifetime
  uint64_t surplus = 0;    // over max_idle
  uint64_t late = 0;       // Get()s whose deadline passed in line
};

// NothingHasArrived()
//
// Whether an idle connection looks alive: nobody owes us anything, so whatever has come
// (an end, an error, bytes) says that it is not what it was. Does not block. What
// `is_alive` is by default for what is a Stream.
bool NothingHasArrived(Stream& stream);

// ConnectionPool
//
// Lends connections, and makes them as they are needed.
//
//   ConnectionPool<TcpStream> pool({
//       .connect = [&](Deadline d) { return TcpStream::Connect(db, {.deadline = d}); },
//       .max_size = 20,
//       .idle_timeout = absl::Seconds(50),      // less than what the server allows
//   });
//   absl::StatusOr<ConnectionPool<TcpStream>::Lease> c = pool.Get(absl::Seconds(1));
//   if (!c.ok()) return c.status();
//   absl::Status s = Query(**c);
//   if (!s.ok()) c->Discard();                  // it is not lent again
//
// Those who wait are served in the order in which they came, by what is given back or by
// the place of what has gone. The one that was given back last is lent first, so that
// those which are needed only at times grow old. Nothing is lent that is too old, or that
// `is_alive` says is broken: then the next idle one is tried, and in the end a new one is
// made. What has been idle or has lived for too long is dropped at that time, too, by a
// greenlet of the pool's own.
//
// Threads: the hub that made it; elsewhere a fatal error. T is moved, nothing else.
// (sync/resource_pool.h is for what is no connection, and for many hubs.)
template <typename T>
class ConnectionPool : private net_internal::ConnectionPoolBase {
 public:
  struct Options {
    // Makes one. Runs in the greenlet that asks, with the deadline that it asks with, or
    // in the pool's own; may block. Its failure is returned to who asked, and takes no
    // place.
    std::function<absl::StatusOr<T>(Deadline)> connect;
    // Asked before an idle one is lent, in the greenlet that asks; may block. By default
    // NothingHasArrived() for a Stream, else true.
    std::function<bool(T&)> is_alive = nullptr;
    // How many there may be. Zero is a fatal error.
    size_t max_size = 8;
    // How many may be idle; more are dropped.
    size_t max_idle = std::numeric_limits<size_t>::max();
    // So many are made in advance, and kept idle while max_size allows it. After a
    // failure it is tried again a second later, then twice as long, up to a minute.
    size_t min_idle = 0;
    absl::Duration idle_timeout = absl::InfiniteDuration();
    // Up to a tenth shorter, so that those that began together do not end together.
    absl::Duration max_lifetime = absl::InfiniteDuration();
    // Names it in messages.
    std::string name = "connection pool";
  };
  class Lease;

  explicit ConnectionPool(Options options);
  // While one is lent, or somebody waits: a fatal error. Blocks, shielded, as T's
  // destructor does.
  ~ConnectionPool();

  // ConnectionPool::Get()
  //
  // Blocks: until there is one; as `connect` and `is_alive` do.
  // Deadline: for the wait, and what `connect` is given; returns kDeadlineExceeded.
  // Kill: throws; nothing was lent, and no place is lost.
  // Errors: what `connect` fails with; kFailedPrecondition once it is closed.
  absl::StatusOr<Lease> Get(Deadline deadline = {});

  // ConnectionPool::Close()
  //
  // Lends no more: who waits, and who comes, gets kFailedPrecondition. Drops what is
  // idle, and what is given back. Returns how many are still lent, or being made, at the
  // deadline. May be called again.
  //
  // Blocks: until all are back. Deadline: as said. Kill: throws; it stays closed.
  size_t Close(Deadline deadline = {});

  // ConnectionPool::DropIdle()
  //
  // Drops all that are idle, and those that are lent when they are given back: for when
  // the server has changed. Does not block, but as T's destructor does.
  void DropIdle();

  ConnectionPoolStatistics statistics() const;

 private:
  struct Entry {
    T connection;
    MonotonicNanos dies_at;
    uint64_t generation;  // see DropIdle()
    MonotonicNanos idle_since = 0;
  };
  class Waiter;
  class Place;

  bool IsAlive(Entry& entry) const;
  Entry TakeIdle();
  absl::StatusOr<Entry> Connect(Deadline deadline);
  absl::StatusOr<Entry> ConnectUnasked();
  void GiveBack(Entry entry);
  void DropExpired();
  void Maintain();
  MonotonicNanos ExpiryOf(const Entry& entry) const;
  MonotonicNanos NextExpiry() const;
  void NeedMaintenance(MonotonicNanos when);

  const Options options_;
  // Front: idle for longest.
  std::deque<Entry> idle_;
  ConnectionPoolStatistics counts_;
  uint64_t generation_ = 0;
  Greenlet<> maintainer_;
};

// Lease
//
// One that is lent; given back at its end. Moves, and does not copy.
//
// Where an exception ends it, as a kill or a Timeout does, it is dropped if it was used:
// nobody knows what was under way, and the next borrower would read the answer to the
// question of this one.
//
// Threads: the pool's hub's.
template <typename T>
class ConnectionPool<T>::Lease {
 public:
  Lease(Lease&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        entry_(std::move(other.entry_)),
        used_(other.used_) {}
  Lease& operator=(Lease&& other) noexcept {
    GiveBack();
    pool_ = std::exchange(other.pool_, nullptr);
    entry_ = std::move(other.entry_);
    used_ = other.used_;
    exceptions_ = std::uncaught_exceptions();
    return *this;
  }
  ~Lease() {
    if (used_ && pool_ != nullptr && std::uncaught_exceptions() > exceptions_) {
      Discard();
    } else {
      GiveBack();
    }
  }

  T& operator*() { return *operator->(); }
  T* operator->() {
    used_ = true;
    return &entry_->connection;
  }

  // It is dropped, and not lent again. Does not block, but as T's destructor does. The
  // lease is empty then.
  void Discard();
  // Before its end. Does not block, but as T's destructor does.
  void GiveBack();
  explicit operator bool() const { return pool_ != nullptr; }

 private:
  friend class ConnectionPool;
  Lease(ConnectionPool* pool, Entry entry) : pool_(pool), entry_(std::move(entry)) {}

  ConnectionPool* pool_;
  std::optional<Entry> entry_;
  bool used_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace grove::net

#include "grove/net/internal/connection_pool_inl.h"

#endif  // GROVE_NET_CONNECTION_POOL_H_
