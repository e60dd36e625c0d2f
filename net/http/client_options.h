#ifndef GROVE_NET_HTTP_CLIENT_OPTIONS_H_
#define GROVE_NET_HTTP_CLIENT_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::http {

// ClientTimeouts
//
// How long each phase of a request may take. What is over returns kDeadlineExceeded, and
// says which it was.
struct ClientTimeouts {
  // To a connection: the name's lookup and all attempts; with a proxy also its answer.
  absl::Duration connect = absl::Seconds(10);
  // For the handshake.
  absl::Duration tls = absl::Seconds(10);
  // While the server takes nothing of a request that is being sent, for each 64 KiB.
  absl::Duration send = absl::Seconds(30);
  // From a request that was sent to the response's head.
  absl::Duration head = absl::Seconds(30);
  // To the next bytes of a body that is read.
  absl::Duration body = absl::Seconds(30);
  // For all of it, from Send() to the body's end: the wait for a connection, redirects
  // and retries included.
  absl::Duration total = absl::InfiniteDuration();
  // With ClientRequest::expect_continue: the body is sent without an answer then.
  absl::Duration expect_continue = absl::Seconds(1);
};

// ClientEndpoint
//
// Where a connection goes to.
struct ClientEndpoint {
  std::string host;  // a name, or an address without brackets
  uint16_t port;
};

// Connects. Runs in the greenlet that sends the request, and may block.
using ClientDialer = std::function<absl::StatusOr<std::unique_ptr<net::Stream>>(
    const ClientEndpoint& endpoint, Deadline deadline)>;

// A stream after its handshake.
struct SecuredStream {
  std::unique_ptr<net::Stream> stream;
  std::string alpn = {};  // the protocol that both speak; empty if none was agreed on
};

// Makes a connection one that only `host` can read. As ClientDialer. SecureByTls() of
// client_tls.h gives one; there is none here, since not every process may have BoringSSL
// in it.
using ClientSecurer = std::function<absl::StatusOr<SecuredStream>(
    std::unique_ptr<net::Stream> stream, const std::string& host, Deadline deadline)>;

// HttpClientOptions
//
//   HttpClient client({.timeouts = {.total = absl::Seconds(10)}, .max_body = 1 << 20});
struct HttpClientOptions {
  ClientTimeouts timeouts = {};

  // --- connections, for each origin (scheme, host and port) ---
  // How many there may be; a request beyond them waits for one.
  size_t max_connections = 16;
  // How many are kept when nobody uses them, and how long: less than what servers allow.
  size_t max_idle = 8;
  absl::Duration idle_timeout = absl::Seconds(45);
  absl::Duration max_lifetime = absl::InfiniteDuration();

  // HTTP/2 is spoken to https where both sides say so (ALPN: {"h2", "http/1.1"} of the
  // context that `secure` has). With this also to http, without asking, and nothing else.
  bool http2_prior_knowledge = false;

  // --- redirects ---
  // 0: responses that redirect are returned as they are.
  int max_redirects = 10;
  // From https to http.
  bool follow_downgrades = false;

  // --- what is sent ---
  // Not sent if empty, nor if the request has one.
  std::string user_agent = "grove";
  // Says "Accept-Encoding: gzip, deflate, br", and undoes these, where the request has
  // neither Accept-Encoding nor Range of its own.
  bool decompress = true;

  // --- limits on what a server sends; over one: kResourceExhausted ---
  size_t max_head = 64 << 10;
  size_t max_fields = 256;
  int max_interim = 16;  // 1xx before the response
  size_t max_chunk_extensions = 16 << 10;
  size_t max_trailers = 16 << 10;
  // Of a body as it is read: decompressed.
  uint64_t max_body = std::numeric_limits<uint64_t>::max();
  // Of one that was compressed, where a small body may be a huge one.
  uint64_t max_decompressed = uint64_t{1} << 30;

  // --- proxies ---
  // "http://proxy.example:3128", "http://user:password@[::1]:3128"; percent-encoded where
  // URLs need it. Of https the proxy sees host and port only (CONNECT).
  std::string proxy = {};
  // What is asked without it: "example.org, .internal, 192.0.2.1, a.test:8080", or "*".
  // A name stands for itself and all that end with a dot and it.
  std::string no_proxy = {};
  // Both by http_proxy, https_proxy, all_proxy and no_proxy (the last three also in
  // capitals: HTTP_PROXY can be set by who sends a request to a CGI script). What is set
  // above wins.
  bool proxy_from_environment = false;

  // --- seams ---
  // Null: net::Dial(). A Unix socket, or memory in tests, ignores the endpoint.
  ClientDialer dial = nullptr;
  // Null: https is refused.
  ClientSecurer secure = nullptr;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CLIENT_OPTIONS_H_
