#ifndef GROVE_NET_SERVER_H_
#define GROVE_NET_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/net/address.h"
#include "grove/net/internal/endpoint.h"
#include "grove/net/internal/server_connections.h"
#include "grove/net/listener.h"
#include "grove/net/server_options.h"
#include "grove/net/tcp.h"

namespace grove::net {

class ServerGroup;

// StreamServer
//
// Accepts connections and runs a handler for each, in a greenlet of its own.
//
//   StreamServer server(std::move(listener), [](TcpStream& s) { Echo(s); });
//   server.Start();
//   ...
//   server.Stop(absl::Seconds(5));
//
// The listener is a TcpListener, a UnixListener, a TlsListener, or anything that is a
// Listener (listener.h), and the handler takes a reference to what that one
// accepts, or a Stream&, which works for all. A TLS handshake is made in the connection's
// greenlet, so a slow client holds up nobody.
//
// When the handler returns, its connection is closed. An exception that leaves it is
// reported, ends that connection, and nothing else.
//
// Threads: the hub that made it. For several hubs see server_group.h.
class StreamServer {
 public:
  using StopReport = net::StopReport;

  template <Listener L, HandlerFor<L> Handler>
  StreamServer(L listener, Handler handler, StreamServerOptions options = {})
      : options_(std::move(options)),
        description_(listener.address().ToString()),
        address_(AddressOf(listener)),
        endpoint_(std::make_unique<net_internal::HandlingEndpoint<L, Handler>>(
            std::move(listener), std::move(handler))) {}
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;
  // Stops without grace.
  ~StreamServer();

  // StreamServer::Start()
  //
  // Begins to accept. Does not block. No effect if started or stopped.
  void Start();

  // StreamServer::Stop()
  //
  // Accepts no more and closes the listener; tells each connection (on_drain); waits for
  // the handlers up to `grace`; kills those that are left and waits for them. May be
  // called before Start(), twice, and by several greenlets: all wait for the same end.
  //
  // With a grace, who has connected and was not accepted yet is accepted first: their
  // peers take them for connections. Not so while accepting is paused, nor beyond
  // max_connections: those are reset. A TLS handshake that is under way ends.
  //
  // Blocks: until no handler runs. In a handler it would wait for itself: a fatal error.
  // Spawn what stops it there.
  // Kill: throws; the stop goes on when somebody calls it again.
  StopReport Stop(absl::Duration grace = absl::ZeroDuration());

  // StreamServer::Serve()
  //
  // Start(), then waits for the end of a Stop() by somebody else.
  //
  // Blocks: until then. Returns why, if it was not Stop(): the listener failed for good.
  // Kill: stops without grace, then throws.
  absl::Status Serve();

  // StreamServer::PauseAccepting(), StreamServer::ResumeAccepting()
  //
  // Meanwhile connections wait in the backlog, and those that are open go on. Do not
  // block. No effect if it is so already.
  void PauseAccepting() { paused_ = true; }
  void ResumeAccepting();

  // Where it listens: "127.0.0.1:7000", "/run/x.sock".
  const std::string& description() const { return description_; }
  // The same, of a TCP or TLS server; of others a fatal error.
  const Address& address() const;
  size_t active() const { return statistics().active; }
  uint64_t accepted() const { return statistics().accepted; }
  const StreamServerStatistics& statistics() const { return connections_.statistics(); }
  // Whether it was started, and has not come to its end.
  bool accepting() const { return acceptor_ && !acceptor_.ready(); }

 private:
  friend class ServerGroup;

  // With an endpoint of another kind.
  StreamServer(std::unique_ptr<net_internal::Endpoint> endpoint, std::string description,
               StreamServerOptions options)
      : options_(std::move(options)),
        description_(std::move(description)),
        endpoint_(std::move(endpoint)) {}

  template <typename L>
  static std::optional<Address> AddressOf(const L& listener) {
    if constexpr (std::convertible_to<decltype(listener.address()), Address>) {
      return listener.address();
    } else {
      return std::nullopt;
    }
  }

  void AcceptLoop();
  absl::Status WaitForEnd();
  void StopAccepting(bool take_backlog);

  const StreamServerOptions options_;
  const std::string description_;
  const std::optional<Address> address_;
  const std::unique_ptr<net_internal::Endpoint> endpoint_;
  net_internal::ServerConnections connections_{options_};
  Greenlet<> acceptor_;
  Greenlet<> watcher_;  // of limits
  bool paused_ = false;
};

}  // namespace grove::net

#endif  // GROVE_NET_SERVER_H_
