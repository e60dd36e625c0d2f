#ifndef GROVE_NET_HTTP_CLIENT_H_
#define GROVE_NET_HTTP_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/connection_pool.h"
#include "grove/net/http/client_options.h"
#include "grove/net/http/headers.h"
#include "grove/net/http/url.h"

namespace grove::http {

namespace http_internal {
class ClientBody;
class ClientCore;
struct ReceivedResponse;
}  // namespace http_internal

// BodyWriter
//
// Where a BodyProducer writes to. Each piece goes out at once: make them large.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  // Blocks: while the server takes nothing.
  // Deadline: ClientTimeouts::send.
  // Errors: those of the connection, which stay; kInvalidArgument beyond the length that
  // was announced. Return them.
  virtual absl::Status Write(absl::string_view piece) = 0;
};

// Writes a request's body. What it returns, if not OK, Send() returns. It runs in a
// greenlet of its own, beside the one that waits for the response, and is killed if the
// server answers that it does not want the rest; Send() does not return before it has
// ended.
using BodyProducer = std::function<absl::Status(BodyWriter& out)>;

// ClientRequest
struct ClientRequest {
  std::string method = "GET";
  std::string url = {};
  // Host, if it is to be another than the URL's; not those that frame the message or
  // concern the connection (Content-Length, Transfer-Encoding, Connection, TE, Trailer,
  // Upgrade, Expect, Proxy-Authorization), which are kInvalidArgument.
  HeaderMap headers = {};

  // Either the body ...
  std::string body = {};
  // ... or who writes it, in chunks, or so many bytes.
  BodyProducer produce = nullptr;
  std::optional<uint64_t> produced_length = {};
  // Whether it may be called once more, for a retry or a redirect.
  bool produce_again = false;

  // "Expect: 100-continue": the body waits until the server asks for it.
  bool expect_continue = false;
  // In place of the client's.
  std::optional<ClientTimeouts> timeouts = {};
  std::optional<int> max_redirects = {};
};

// ClientResponse
//
// What a server has answered; its body is read as it comes. At its end the connection is
// used again, if the body was read to its own end, else it is closed. May outlive the
// client. Moves; views are good until its end.
//
// For all that block:
//   Blocks: until there is something to return.
//   Deadline: ClientTimeouts::body and ::total: kDeadlineExceeded.
//   Kill: throws. The rest cannot be read then: kAborted.
//   Threads: the client's hub.
// Errors, which stay: kDataLoss if the body ended before it should, or is not framed or
// compressed as it should be; kResourceExhausted if it is over a limit; those of the
// connection. All name the URL and the peer.
class ClientResponse {
 public:
  ClientResponse(ClientResponse&&) noexcept;
  ClientResponse& operator=(ClientResponse&&) noexcept;
  // Blocks, shielded, where it is the last of a connection of HTTP/2 whose client has
  // gone, while greenlets end that wait for nothing.
  ~ClientResponse();

  int status() const;
  bool ok() const { return status() >= 200 && status() < 300; }
  absl::string_view reason() const;
  // Of a body that is decompressed without Content-Encoding and Content-Length.
  HeaderView headers() const;
  int version_major() const;
  int version_minor() const;
  // Where it came from, after so many redirects.
  const Url& url() const;
  int redirects() const;

  // ClientResponse::Read()
  //
  // At least one byte of the body and at most the buffer's size; 0 is the end.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer);
  // ClientResponse::ReadAll()
  //
  // All that is left; kResourceExhausted if that is more than `limit` bytes.
  absl::StatusOr<std::string> ReadAll(size_t limit);
  // What the server said of the body's length; nothing if it does not say beforehand, or
  // if it is decompressed. Of HEAD, what GET would have.
  std::optional<uint64_t> length() const;
  // The coding that is undone: "gzip"; else empty.
  absl::string_view decompressed() const;
  // The fields behind a chunked body, once it was read to its end.
  HeaderView trailers() const;

 private:
  friend class http_internal::ClientCore;
  explicit ClientResponse(std::unique_ptr<http_internal::ClientBody> body);

  std::unique_ptr<http_internal::ClientBody> body_;
};

// HttpClientStatistics
struct HttpClientStatistics {
  uint64_t requests = 0;           // Send()s
  uint64_t redirects = 0;          // that were followed
  uint64_t retries = 0;            // requests that were sent again
  uint64_t http2_connections = 0;  // that were made
};

// HttpClient
//
// Asks servers, by HTTP/1.1 and HTTP/2. Connections are kept and used again, for each
// origin some, or one of HTTP/2.
//
//   HttpClient client;
//   absl::StatusOr<ClientResponse> r = client.Get("http://example.org/x");
//   if (!r.ok()) return r.status();              // no response
//   if (!r->ok()) return NotFound(r->status());  // one that says no
//   absl::StatusOr<std::string> text = r->ReadAll(1 << 20);
//
// Whatever HTTP forbids a server is refused, and with it the connection.
// docs/http_client.md says what, and when requests are sent again.
//
// Threads: the hub that made it.
class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options = {});
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Connections that are idle are closed, those of responses at their end. Nobody may be
  // in Send(). Blocks, shielded, while greenlets of its own end, which wait for nothing.
  ~HttpClient();

  // HttpClient::Send()
  //
  // Returns once the head of the response is there, whatever its status.
  //
  // Blocks: until then.
  // Deadline: ClientTimeouts; kDeadlineExceeded.
  // Kill: throws; the connection is closed.
  // Errors: kInvalidArgument if the request is none, and nothing was sent;
  // kFailedPrecondition if a redirect must not be followed, or the client is closed;
  // kUnavailable if the server could not be reached or left without an answer; kDataLoss
  // if what it sent is no response; kResourceExhausted if it is over a limit; those of
  // TLS. "GET http://example.org/x?[10 bytes]: response of 192.0.2.1:80: ...".
  absl::StatusOr<ClientResponse> Send(const ClientRequest& request);

  // Contracts as Send().
  absl::StatusOr<ClientResponse> Get(absl::string_view url);
  absl::StatusOr<ClientResponse> Head(absl::string_view url);
  absl::StatusOr<ClientResponse> Post(absl::string_view url, absl::string_view type,
                                      std::string body);

  // HttpClient::Close()
  //
  // Sends no more, and closes what is idle. Returns how many connections are still in use
  // at the deadline. Contract as ConnectionPool::Close().
  size_t Close(Deadline deadline = {});

  const HttpClientStatistics& statistics() const;
  // Of HTTP/1.1, by origin: "http://example.org:80".
  std::map<std::string, net::ConnectionPoolStatistics> connections() const;

 private:
  const std::shared_ptr<http_internal::ClientCore> core_;
};

// BasicAuthorization()
//
// The value of Authorization for a name and a password (RFC 7617).
std::string BasicAuthorization(absl::string_view user, absl::string_view password);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CLIENT_H_
