#ifndef GROVE_NET_HTTP_SERVER_H_
#define GROVE_NET_HTTP_SERVER_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/net/http/handler.h"
#include "grove/net/http/internal/server_core.h"
#include "grove/net/http/server_options.h"
#include "grove/net/server.h"

namespace grove::http {

// HttpServer
//
// Serves HTTP/1.1, 1.0 and HTTP/2 on what a listener accepts: TCP, TLS, Unix sockets,
// memory.
//
//   HttpServer server(*net::TcpListener::Listen(*net::Address::Parse("0.0.0.0:8080")),
//                     [](Request& request, ResponseWriter& response) {
//                       response.Send(200, "text/plain", "Hello, world!").IgnoreError();
//                     });
//   server.Start();
//   ...
//   server.Stop(absl::Seconds(10));
//
// Each connection has a greenlet of its own, in which its requests are handled one after
// the other, also if they come all at once; of HTTP/2 each request has one. What is
// refused, and by which limits, is in docs/http.md and server_options.h.
//
// Threads: the hub that made it. For several hubs make one on each (ListenMany(),
// HubGroup).
class HttpServer {
 public:
  template <net::Listener L>
  HttpServer(L listener, Handler handler, HttpServerOptions options = {})
      : core_(std::move(handler), std::move(options)),
        server_(
            std::move(listener),
            [this](net::StreamOf<L>& stream) {
              if constexpr (kSecure<net::StreamOf<L>>) {
                core_.Serve(stream, true, stream.alpn());
              } else {
                core_.Serve(stream, false, {});
              }
            },
            core_.StreamOptions()) {}
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // HttpServer::Start(), HttpServer::Serve()
  //
  // As StreamServer's.
  void Start() { server_.Start(); }
  absl::Status Serve();

  // HttpServer::Stop()
  //
  // As StreamServer::Stop(). Connections without a request are closed; responses that
  // begin from now on say "Connection: close".
  net::StopReport Stop(absl::Duration grace = absl::ZeroDuration());

  // Accepting and connections: where it listens, how many there are.
  net::StreamServer& connections() { return server_; }
  const net::StreamServer& connections() const { return server_; }
  const HttpServerStatistics& statistics() const { return core_.statistics(); }

 private:
  // A TLS stream is told by what only those have.
  template <typename S>
  static constexpr bool kSecure = requires(const S& s) {
    s.alpn();
  };

  http_internal::ServerCore core_;
  net::StreamServer server_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_SERVER_H_
