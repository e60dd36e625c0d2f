#ifndef GROVE_NET_INTERNAL_ENDPOINT_H_
#define GROVE_NET_INTERNAL_ENDPOINT_H_

#include <errno.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/status.h"
#include "grove/net/address.h"
#include "grove/net/internal/server_connections.h"
#include "grove/net/listener.h"

// What is behind a StreamServer: its listener and its handler, of whatever types.
namespace grove::net::net_internal {

class Endpoint {
 public:
  virtual ~Endpoint() = default;

  // Waits until one may be accepted, as far as that is the endpoint's business.
  virtual void WaitForRoom() {}
  // Accepts one connection and takes care of it, without waiting.
  virtual absl::Status AcceptOne(ServerConnections& connections) = 0;
  virtual absl::Status WaitForConnection() = 0;
  virtual void Close() = 0;
};

template <typename L>
PeerKey PeerKeyOfStream(const StreamOf<L>& stream) {
  if constexpr (requires { PeerKeyOf(L::PeerOf(stream)); }) {
    return PeerKeyOf(L::PeerOf(stream));
  } else if constexpr (requires { PeerKeyOf(stream.peer()); }) {
    return PeerKeyOf(stream.peer());
  } else {
    return kNoPeer;
  }
}

// A shortage as that of descriptors is: who connects waits in the backlog.
inline absl::Status NoStack() {
  return ErrnoStatus(ENOMEM, "no stack for the greenlet of one connection more");
}

// Each connection in a greenlet of its own.
template <typename L, typename Handler>
class HandlingEndpoint final : public Endpoint {
 public:
  using S = StreamOf<L>;

  HandlingEndpoint(L listener, Handler handler)
      : listener_(std::move(listener)), handler_(std::move(handler)) {}

  absl::Status AcceptOne(ServerConnections& connections) override {
    if (!CanSpawn()) return NoStack();
    absl::StatusOr<S> stream = listener_.TryAccept();
    if (!stream.ok()) return std::move(stream).status();
    const PeerKey peer =
        connections.counts_peers() ? PeerKeyOfStream<L>(*stream) : kNoPeer;
    if (!connections.Admit(peer)) return absl::OkStatus();
    // Destroyed in this order: the descriptor is closed, then its slot is free. Also if
    // the greenlet is killed before it has begun.
    Spawn([slot = ServerConnections::Slot(&connections, peer), s = *std::move(stream),
           this]() mutable { Run(slot.connections(), s); });
    return absl::OkStatus();
  }

  absl::Status WaitForConnection() override { return listener_.WaitForConnection(); }
  void Close() override { listener_.Close(); }

 private:
  void Run(ServerConnections* connections, S& stream) {
    if (connections->killed()) return;
    ServerConnections::Connection connection(connections, &stream);
    if constexpr (requires { listener_.Greet(stream); }) {
      if (!listener_.Greet(stream).ok()) {
        connection.Failed();
        return;
      }
    }
    connection.Greeted();
    handler_(stream);
  }

  L listener_;
  Handler handler_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_ENDPOINT_H_
