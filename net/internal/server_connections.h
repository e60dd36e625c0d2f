#ifndef GROVE_NET_INTERNAL_SERVER_CONNECTIONS_H_
#define GROVE_NET_INTERNAL_SERVER_CONNECTIONS_H_

#include <cstddef>
#include <utility>

#include "grove/green/internal/core.h"
#include "grove/net/internal/peer_counts.h"
#include "grove/net/internal/peer_pace.h"
#include "grove/net/internal/running_handlers.h"
#include "grove/net/server_options.h"
#include "grove/net/stream.h"

namespace grove::net::net_internal {

// ServerConnections
//
// The open connections of one server: how many, whose, and whether their peers keep up.
class ServerConnections {
 public:
  class Slot;
  class Connection;

  explicit ServerConnections(const StreamServerOptions& options) : options_(options) {}
  ServerConnections(const ServerConnections&) = delete;
  ServerConnections& operator=(const ServerConnections&) = delete;

  // Whether one more may be open.
  bool Full() const {
    return options_.max_connections != 0 &&
           statistics_.active >= options_.max_connections;
  }
  // No handler begins any more.
  bool killed() const { return handlers_.killed(); }
  bool counts_peers() const { return options_.max_per_peer != 0; }
  // Counts one that was accepted. False if it is to be refused; else a Slot is made.
  bool Admit(PeerKey peer);

  // Tells each that the server comes to its end, and those that are still to begin.
  void Drain();
  RunningHandlers& handlers() { return handlers_; }

  // Until a connection has ended, or WakeSlotWaiters().
  void WaitForSlot(const char* what);
  void WakeSlotWaiters();

  bool has_limits() const {
    return options_.idle_limit != absl::InfiniteDuration() || options_.min_rate > 0;
  }
  // Looks after the limits, until it is killed.
  void Watch();

  StreamServerStatistics& statistics() { return statistics_; }
  const StreamServerStatistics& statistics() const { return statistics_; }

 private:
  Connection* first() const;
  void DrainOne(Connection& connection);
  void Look(Connection& connection, const PeerPace::Limits& limits);

  const StreamServerOptions& options_;
  StreamServerStatistics statistics_;
  RunningHandlers handlers_{options_.name, statistics_.active};  // all are Connections
  PeerCounts peers_;
  Connection* next_to_watch_ = nullptr;
  bool draining_ = false;
  green_internal::WaiterList slot_waiters_;  // the acceptor, while it may not accept
};

// A place among the connections that may be open at once.
class ServerConnections::Slot {
 public:
  Slot(ServerConnections* connections, PeerKey peer)
      : connections_(connections), peer_(peer) {
    ++connections->statistics_.active;
  }
  Slot(Slot&& other) noexcept
      : connections_(std::exchange(other.connections_, nullptr)), peer_(other.peer_) {}
  ~Slot();

  ServerConnections* connections() const { return connections_; }

 private:
  ServerConnections* connections_;
  PeerKey peer_;
};

// One open connection, on the stack of its handler's greenlet.
class ServerConnections::Connection : public RunningHandlers::Running {
 public:
  Connection(ServerConnections* connections, Stream* stream);
  ~Connection();

  // Connection::Greeted()
  //
  // What is done first, a TLS handshake, has been done: the handler begins. One that a
  // drain finds before is closed.
  void Greeted();
  void Failed() { ++connections_->statistics_.failed; }

 private:
  friend class ServerConnections;

  Connection* next() const { return static_cast<Connection*>(Running::next()); }

  ServerConnections* const connections_;
  Stream* const stream_;
  bool greeted_ = false;
  PeerPace pace_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_SERVER_CONNECTIONS_H_
