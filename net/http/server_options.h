#ifndef GROVE_NET_HTTP_SERVER_OPTIONS_H_
#define GROVE_NET_HTTP_SERVER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/request.h"

namespace grove::http {

// Http2Options
//
// For connections that speak HTTP/2: those that TLS has agreed upon by ALPN ("h2" in the
// alpn of TlsServerOptions), and those that begin with its preface ("prior knowledge").
// Whoever is over a limit of a connection gets GOAWAY, of a stream RST_STREAM.
struct Http2Options {
  bool enabled = true;
  // How many requests a client may have open at once; more are refused, and can be tried
  // again. Handlers whose client has gone count until they return.
  uint32_t max_streams = 100;
  // How many bytes of a body, and of all bodies of a connection, may have come before a
  // handler reads them. Their sum is what a client can make a connection hold.
  uint32_t stream_window = 256 << 10;
  uint32_t connection_window = 1 << 20;
  // How many streams a client may reset: so many at once, and so many a second.
  uint64_t reset_burst = 1000;
  uint64_t reset_rate = 33;
  // How many frames a client may send that are part of no request, or of none that could
  // be taken: pings, settings, priorities, windows but for those of what is sent, empty
  // data, what was reset for its mistakes. So many at once, and so many a second.
  uint32_t control_burst = 10'000;
  uint32_t control_rate = 1'000;
};

// HttpServerOptions
//
// Limits are on from the start: the defaults are for a server that faces the internet.
// Times are kept as those of StreamServerOptions: none is cut early; an eighth, and
// twice, later. What a limit is answered with stands in brackets; the connection then
// ends.
//
//   HttpServer server(std::move(listener), router,
//                     {.max_body = 1 << 20, .max_per_peer = 100, .access_log = &Log});
struct HttpServerOptions {
  // The request line [414]; with all header fields [431]; their number [431].
  size_t max_request_line = 8 << 10;
  size_t max_head = 32 << 10;
  size_t max_fields = 100;
  // The body of a request [413]. 0: no bodies.
  uint64_t max_body = uint64_t{64} << 20;
  // The extensions of all chunks of a body, and its trailers (also max_fields) [400].
  size_t max_chunk_extensions = 4 << 10;
  size_t max_trailers = 8 << 10;

  // From the first byte of a request to the end of its head [408].
  absl::Duration head_timeout = absl::Seconds(10);
  // To the first byte of the first request, and of the next one. Closed without an
  // answer.
  absl::Duration first_byte_timeout = absl::Seconds(30);
  absl::Duration idle_timeout = absl::Seconds(75);
  // To the next byte of a body that a handler reads [408].
  absl::Duration body_timeout = absl::Seconds(30);
  // Of one connection; the last one is answered with "Connection: close". 0: no limit.
  uint64_t max_requests = 0;

  // What a handler left unread of a body is read and dropped, so that the connection can
  // go on, if it is no more than this; else the connection ends.
  uint64_t max_discard = 256 << 10;
  // At an end that the client may not expect what it still sends is dropped for so long,
  // so that it gets to read the answer.
  absl::Duration linger = absl::Seconds(2);

  // Below HTTP, as in StreamServerOptions: how many connections, and from one peer
  // (0: no limit); how slow a peer may be, in bytes a second, that sends a request or
  // takes a response; and for how long no byte may go either way while the server waits
  // for one. Who is over one of the last two is cut.
  size_t max_connections = 0;
  size_t max_per_peer = 0;
  double min_rate = 240;
  absl::Duration min_rate_grace = absl::Seconds(20);
  absl::Duration stall_timeout = absl::Minutes(2);
  // Names the greenlets.
  std::string name = "http server";

  Http2Options http2 = {};

  // Called after each response; see access_log.h. It must not block.
  std::function<void(const AccessRecord&)> access_log = nullptr;
  // Told of what leaves a handler. The default reports it as that of
  // a greenlet (SetErrorHandler()), behind a line on stderr with the request's
  // DebugString(). It must not block.
  std::function<void(const Request&, std::exception_ptr)> on_exception = nullptr;
};

// What a server has done.
struct HttpServerStatistics {
  uint64_t requests = 0;    // that got to a handler
  uint64_t refused = 0;     // answered by the server, with 4xx or 5xx
  uint64_t exceptions = 0;  // that left handlers
  uint64_t timed_out = 0;   // connections over one of the times
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_SERVER_OPTIONS_H_
