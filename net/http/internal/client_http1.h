#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP1_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP1_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/connection_pool_map.h"
#include "grove/net/http/client_options.h"
#include "grove/net/http/internal/chunk_decoder.h"
#include "grove/net/http/internal/client_transport.h"
#include "grove/net/http/internal/response_parser.h"
#include "grove/net/stream.h"

namespace grove::http::http_internal {

// ClientConnection
//
// What the pool lends: a place for a connection, which whoever gets it connects if it is
// none yet. So the pool counts, and he who waits for the connection knows its phases, and
// whether somebody has used it before.
struct ClientConnection {
  std::unique_ptr<net::Stream> stream;  // null: not connected
  std::string peer;
  bool used = false;  // by a request
  std::string input;  // was read, from `at` on not looked at
  size_t at = 0;

  absl::string_view unread() const { return absl::string_view(input).substr(at); }
  // Reads more; 0 is the end.
  absl::StatusOr<size_t> Fill(Deadline deadline);
  // The same without waiting: nullopt if there is nothing now.
  absl::StatusOr<std::optional<size_t>> TryFill();
  void Drop();
  // Nothing that would have to be there has come.
  bool Alive();
};

using ClientPools =
    net::ConnectionPoolMap<std::string, std::unique_ptr<ClientConnection>>;

// ConnectionLease
//
// A connection that is closed, unless it was said to be clean: whatever ends its use, an
// exception too, lets nobody else read the rest of a response.
class ConnectionLease {
 public:
  explicit ConnectionLease(ClientPools::Lease lease) : lease_(std::move(lease)) {}
  ConnectionLease(ConnectionLease&&) = default;
  ConnectionLease& operator=(ConnectionLease&&) = delete;
  ~ConnectionLease() {
    if (lease_) lease_.Discard();
  }
  ClientConnection& operator*() { return **lease_; }
  ClientConnection* operator->() { return lease_->get(); }
  explicit operator bool() const { return static_cast<bool>(lease_); }
  void GiveBackClean() { lease_.GiveBack(); }
  void Discard() { lease_.Discard(); }

 private:
  ClientPools::Lease lease_;
};

// ReadHead()
//
// Reads one head, of an interim response too. `begun` is set once a byte of it is there.
absl::Status ReadHead(ClientConnection& connection, absl::string_view method,
                      const ResponseParser::Limits& limits, Deadline deadline,
                      bool* begun, ResponseHead* head);

// Http1Exchange
//
// A request and its response on a connection of HTTP/1.1.
class Http1Exchange final : public IncomingBody {
 public:
  struct Parameters {
    const HttpClientOptions* options;  // outlives it
    ClientTimeouts timeouts;
    Deadline total;
    bool absolute_form = false;       // to a proxy
    std::string proxy_authorization;  // its value
  };

  Http1Exchange(ConnectionLease connection, Parameters parameters);
  ~Http1Exchange() override;

  // Sends the request, and reads the response's head.
  absl::Status Run(const OutgoingRequest& request);

  const ResponseHead& head() const { return *head_; }
  std::unique_ptr<ResponseHead> TakeHead() { return std::move(head_); }
  const std::string& peer() const { return peer_; }
  // After Run() has failed: whether the server may have acted upon the request, as far as
  // a byte of a response says so; and whether that is the producer's own failure.
  bool begun() const { return begun_; }
  bool producer_failed() const { return producer_failed_; }

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override;
  HeaderView trailers() const override {
    return end_ == BodyEnd::kChunked && done_ ? HeaderView(decoder_.trailers())
                                              : HeaderView();
  }

 private:
  class Writer;

  std::string HeadOf(const OutgoingRequest& request) const;
  absl::Status SendWhole(absl::string_view head, const OutgoingRequest& request);
  absl::Status SendBeside(absl::string_view head, const OutgoingRequest& request);
  absl::Status SendBody(const OutgoingRequest& request);
  absl::Status WriteAll(absl::Span<const absl::string_view> pieces);
  // One that is no interim response.
  absl::Status ReadFinalHead(absl::string_view method);
  absl::Status ReadOneHead(absl::string_view method, bool* final);
  void BeginBody();
  absl::StatusOr<size_t> ReadSome(absl::Span<char> buffer);
  absl::StatusOr<size_t> ReadDirect(absl::Span<char> buffer, bool* end);
  absl::StatusOr<size_t> ReadChunked(absl::Span<char> buffer);
  absl::Status Cut(absl::string_view what) const;
  void Finish();

  ConnectionLease connection_;
  const Parameters parameters_;
  const std::string peer_;
  std::unique_ptr<ResponseHead> head_;
  bool begun_ = false;
  bool producer_failed_ = false;
  bool keep_ = true;  // as far as the request is concerned
  int interim_ = 0;
  bool continued_ = false;

  BodyEnd end_ = BodyEnd::kNone;
  uint64_t left_ = 0;
  ChunkDecoder decoder_;
  bool done_ = false;
  bool reading_ = false;  // an exception leaves it so
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP1_H_
