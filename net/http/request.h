#ifndef GROVE_NET_HTTP_REQUEST_H_
#define GROVE_NET_HTTP_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/net/http/headers.h"

namespace grove::http {

// RequestBody
//
// The body of a request, read as it comes. Where the client said "Expect: 100-continue",
// the first read asks it to go on: who answers without reading never gets the body.
//
// For all that follow:
//   Blocks: until there is something to return.
//   Deadline: the server's limits (HttpServerOptions); a Timeout or DeadlineScope of the
//       caller's.
//   Kill: throws.
//   Threads: the hub that serves the connection.
// Errors: kResourceExhausted if it is over the server's limit (413), kInvalidArgument if
// it is not framed as it should be (400), kDeadlineExceeded if nothing has come for too
// long (408), kUnavailable if the connection ended first. They stay. If the handler sends
// no response after one of them, the server sends the one in brackets; in any case the
// connection ends.
class RequestBody {
 public:
  virtual ~RequestBody() = default;

  // RequestBody::Read()
  //
  // At least one byte and at most the buffer's size; 0 is the end.
  virtual absl::StatusOr<size_t> Read(absl::Span<char> buffer) = 0;

  // RequestBody::ReadAll()
  //
  // All that is left; kResourceExhausted if that is more than `limit` bytes.
  absl::StatusOr<std::string> ReadAll(size_t limit);

  // RequestBody::ReadUntil()
  //
  // Reads through `delimiter` and returns all up to its end, as Stream::ReadUntil(): a
  // line, say. What was read beyond it is left in `rest`, which is looked at first the
  // next time. kOutOfRange if the end comes first (what there was is in `rest`), and
  // kResourceExhausted if the delimiter is not within the first `limit` bytes.
  absl::StatusOr<std::string> ReadUntil(absl::string_view delimiter, std::string& rest,
                                        size_t limit);

  // RequestBody::length()
  //
  // What the client said, whether it was read or not; nothing if it does not say
  // beforehand.
  virtual std::optional<uint64_t> length() const = 0;

  // RequestBody::trailers()
  //
  // The fields behind the body, once it was read to its end. They are not headers: a
  // client can put there what a proxy did not see.
  virtual HeaderView trailers() const = 0;
};

// Request
//
// What a client asks for. Views are good until the handler returns.
//
// Threads: the hub that serves the connection.
class Request {
 public:
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // "GET". Names that HTTP's registry does not have are refused before a handler sees
  // them (501).
  absl::string_view method() const { return method_; }
  // As sent: "/a%20b?x=1", "*" of OPTIONS, "http://host/a" by who takes us for a proxy.
  absl::string_view target() const { return target_; }
  // "/a%20b", not decoded; of an absolute form that of its URL, at least "/". And "x=1".
  absl::string_view path() const { return path_; }
  absl::string_view query() const { return query_; }
  // The host that is asked for, with its port if there is one: that of an absolute form,
  // else the field Host. It was checked to look like one, no more.
  absl::string_view host() const { return host_; }
  int version_major() const { return version_major_; }
  int version_minor() const { return version_minor_; }
  HeaderView headers() const { return HeaderView(fields_); }
  RequestBody& body() { return *body_; }
  bool is_head() const { return method_ == "HEAD"; }

  // Who asks, as Stream::Describe() says it: "10.0.0.1:40312".
  absl::string_view peer() const { return peer_; }
  bool secure() const { return secure_; }

  // Request::parameter()
  //
  // What a Router's pattern has found: of "/users/{id}", parameter("id"), decoded.
  std::optional<absl::string_view> parameter(absl::string_view name) const;
  void AddParameter(std::string name, std::string value) {
    parameters_.emplace_back(std::move(name), std::move(value));
  }

  // Request::DebugString()
  //
  // For logs: the request line and the fields. Values of secret fields (IsSecretField())
  // and of the query are not shown but for their size, and control characters are
  // escaped.
  std::string DebugString() const;

  // For those who serve requests, and for tests of handlers: what is asked for. The path,
  // the query and the host are found by it. `fields` and all views must outlive it.
  struct Parts {
    absl::string_view method = "GET";
    absl::string_view target = "/";
    absl::string_view host = {};  // the field Host
    absl::string_view peer = {};
    int version_major = 1;
    int version_minor = 1;
    bool secure = false;
    absl::Span<const Field> fields = {};
    RequestBody* body = nullptr;
  };
  void Set(const Parts& parts);
  // For middleware that reads the body in the handler's place. It must outlive the call
  // of that.
  void set_body(RequestBody* body) { body_ = body; }

 private:
  absl::string_view method_;
  absl::string_view target_;
  absl::string_view path_;
  absl::string_view query_;
  absl::string_view host_;
  absl::string_view peer_;
  int version_major_ = 1;
  int version_minor_ = 1;
  bool secure_ = false;
  absl::Span<const Field> fields_;
  RequestBody* body_ = nullptr;
  std::vector<std::pair<std::string, std::string>> parameters_;
};

// DecodePercent()
//
// "a%20b" -> "a b". Nothing if a '%' is not followed by two hexadecimal digits, or if a
// zero byte comes out.
std::optional<std::string> DecodePercent(absl::string_view text);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_REQUEST_H_
