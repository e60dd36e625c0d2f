#include "grove/net/internal/server_connections.h"

#include <algorithm>

#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net {

StreamServerStatistics& StreamServerStatistics::operator+=(
    const StreamServerStatistics& other) {
  active += other.active;
  accepted += other.accepted;
  refused += other.refused;
  failed += other.failed;
  cut_idle += other.cut_idle;
  cut_slow += other.cut_slow;
  shortages += other.shortages;
  return *this;
}

namespace net_internal {
namespace {

// How many connections are looked at before others run.
constexpr int kLooksInARow = 256;

}  // namespace

// --- places --------------------------------------------------------------------------

ServerConnections::Slot::~Slot() {
  if (connections_ == nullptr) return;
  if (peer_ != kNoPeer) connections_->peers_.Leave(peer_);
  if (--connections_->statistics_.active == 0) connections_->handlers_.NoneIsLeft();
  connections_->slot_waiters_.NotifyAll();
}

bool ServerConnections::Admit(PeerKey peer) {
  ++statistics_.accepted;
  if (peer == kNoPeer || peers_.Enter(peer, options_.max_per_peer)) return true;
  ++statistics_.refused;
  return false;
}

void ServerConnections::WaitForSlot(const char* what) { WaitIn(slot_waiters_, what); }
void ServerConnections::WakeSlotWaiters() { slot_waiters_.NotifyAll(); }

// --- connections ---------------------------------------------------------------------

ServerConnections::Connection::Connection(ServerConnections* connections, Stream* stream)
    : Running(&connections->handlers_), connections_(connections), stream_(stream) {}

ServerConnections::Connection::~Connection() {
  if (connections_->next_to_watch_ == this) connections_->next_to_watch_ = next();
}

ServerConnections::Connection* ServerConnections::first() const {
  return static_cast<Connection*>(handlers_.first());
}

void ServerConnections::Connection::Greeted() {
  greeted_ = true;
  // One that was accepted just before a drain began.
  if (connections_->draining_) connections_->DrainOne(*this);
}

void ServerConnections::DrainOne(Connection& connection) {
  Stream& stream = *connection.stream_;
  if (!connection.greeted_) {
    stream.Close();
  } else if (options_.on_drain) {
    options_.on_drain(stream);
  } else if (!stream.closed()) {
    // A peer that has reset the connection already is no news.
    (void)stream.ShutdownRead();
  }
}

void ServerConnections::Drain() {
  draining_ = true;
  for (Connection* c = first(); c; c = c->next()) DrainOne(*c);
}

// --- limits --------------------------------------------------------------------------

void ServerConnections::Watch() {
  const PeerPace::Limits limits{.idle = options_.idle_limit,
                                .min_rate = options_.min_rate,
                                .grace = options_.min_rate_grace};
  absl::Duration shortest = limits.idle;
  if (limits.min_rate > 0) shortest = std::min(shortest, limits.grace);
  const absl::Duration period = std::max(shortest / 8, absl::Milliseconds(1));
  for (;;) {
    Sleep(period, {.ref = false});
    int left = kLooksInARow;
    // Those that come meanwhile stand before the first, and are looked at next time.
    next_to_watch_ = first();
    while (Connection* c = next_to_watch_) {
      next_to_watch_ = c->next();
      Look(*c, limits);
      if (--left == 0) {
        Yield();
        left = kLooksInARow;
      }
    }
  }
}

void ServerConnections::Look(Connection& connection, const PeerPace::Limits& limits) {
  if (!connection.stream_->limits_apply()) return;
  switch (
      connection.pace_.Look(connection.stream_->activity(), ThisHub().Now(), limits)) {
    case PeerPace::Verdict::kFine:
      return;
    case PeerPace::Verdict::kIdle:
      ++statistics_.cut_idle;
      break;
    case PeerPace::Verdict::kSlow:
      ++statistics_.cut_slow;
      break;
  }
  // Nothing is kept for who does not read.
  connection.stream_->Abort();
}

}  // namespace net_internal
}  // namespace grove::net
