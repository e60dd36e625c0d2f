#ifndef GROVE_NET_TLS_LISTENER_H_
#define GROVE_NET_TLS_LISTENER_H_

#include <concepts>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/listener.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"
#include "grove/net/tls_context.h"

namespace grove::net {

// TlsListener
//
// Puts TLS around what another listener accepts. For a StreamServer:
//
//   absl::StatusOr<TlsServerContext> tls = TlsServerContext::Make({.identities = ...});
//   StreamServer server(TlsListener(*TcpListener::Listen(address), *tls),
//                       [](TlsStream& s) { Serve(s); });
//
// There the handshake is made in the greenlet of each connection, within
// TlsServerOptions::handshake_timeout, before the handler is called; one that fails is
// counted (StreamServerStatistics::failed). Accepting waits for none.
//
// On many hubs (server_group.h), each has one of its own, around the same context:
//
//   using Dealt = DealtListener<TcpStream>;
//   ServerGroup::DealTo(hubs, std::move(listener), [tls](Dealt dealt) {
//     return std::make_unique<StreamServer>(TlsListener(std::move(dealt), tls), &Serve);
//   });
//
// Threads: the hub that made it.
template <Listener Inner = TcpListener>
class TlsListener {
 public:
  using Transport = StreamOf<Inner>;

  TlsListener(Inner listener, TlsServerContext context)
      : listener_(std::move(listener)), context_(std::move(context)) {}

  // Contracts as the other's. The handshake is still to be made: see TlsStream.
  absl::StatusOr<TlsStream> TryAccept() {
    absl::StatusOr<Transport> transport = listener_.TryAccept();
    if (!transport.ok()) return std::move(transport).status();
    return TlsStream(*std::move(transport), context_);
  }
  absl::Status WaitForConnection(Deadline deadline = {}) {
    return listener_.WaitForConnection(deadline);
  }
  void Close() { listener_.Close(); }
  decltype(auto) address() const { return listener_.address(); }

  // For StreamServer: what is done first; whose connection it is; and how it is cut.
  static absl::Status Greet(TlsStream& stream) { return stream.Handshake(); }
  static const Address& PeerOf(const TlsStream& stream) requires
      requires(const Transport& t) {
    { t.peer() } -> std::convertible_to<const Address&>;
  }
  { return static_cast<const Transport&>(stream.transport()).peer(); }

 private:
  Inner listener_;
  TlsServerContext context_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TLS_LISTENER_H_
