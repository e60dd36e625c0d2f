#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP2_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP2_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"
#include "grove/net/http/client_options.h"
#include "grove/net/http/internal/client_transport.h"
#include "grove/net/http/internal/response_parser.h"
#include "grove/net/stream.h"
#include "grove/sync/event.h"

namespace grove::http::http_internal {

// Fields as they come, one after the other.
struct ClientHttp2Fields {
  std::string text;
  struct Entry {
    size_t name, value, end;
  };
  std::vector<Entry> entries;
  int status = 0;

  void Clear();
  void Add(absl::string_view name, absl::string_view value);
  // Views of `text`, which must not move any more.
  static std::vector<Field> View(const std::string& text,
                                 const std::vector<Entry>& entries);
};

// ClientHttp2Stream
//
// One request and its response, between the session and who waits for it.
struct ClientHttp2Stream {
  int32_t id = -1;

  // What has come.
  ClientHttp2Fields fields;
  int interim = 0;
  std::unique_ptr<ResponseHead> head;  // of the final response
  bool has_head = false;
  std::string trailer_text;
  std::vector<Field> trailers;
  std::string data;
  size_t at = 0;        // of `data`, up to here it was read
  bool begun = false;   // something has come
  bool ended = false;   // all has come
  bool closed = false;  // for nghttp2
  bool refused = false;
  absl::Status failure;
  AutoResetEvent changed;

  // What goes out.
  absl::string_view out;
  bool out_end = true;
  bool out_stopped = false;
  bool out_done = false;
  AutoResetEvent out_changed;
};

// Http2Session
//
// A connection of HTTP/2, which many requests share. One greenlet reads, one writes, and
// nobody else touches the connection. What a response's reader has not read yet is
// buffered, by flow control up to kStreamWindow; the connection's own window is opened
// again as bytes come, so that who does not read holds up nobody else.
class Http2Session {
 public:
  static constexpr int32_t kStreamWindow = 256 << 10;
  static constexpr int32_t kConnectionWindow = 1 << 20;

  // `options` outlives it.
  Http2Session(std::unique_ptr<net::Stream> stream, std::string peer,
               const HttpClientOptions* options);
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;
  // Says goodbye, if that needs no waiting. Blocks, shielded, until its greenlets ended.
  ~Http2Session();

  // Whether it takes new requests.
  bool usable() const;
  // How much has come. Doubt() is told what that was when something was asked that was
  // not answered in time: if nothing at all has come since, the network may be gone, of
  // which TCP tells only after minutes, and no new requests are taken.
  uint64_t received() const { return received_; }
  void Doubt(uint64_t received);
  size_t active() const { return streams_.size(); }
  const std::string& peer() const { return peer_; }

  // For Http2Exchange. WaitForRoom() waits while there are as many requests as the server
  // allows; false at the deadline, or once it is not usable.
  bool WaitForRoom(Deadline deadline);
  absl::Status Submit(const OutgoingRequest& request,
                      const std::shared_ptr<ClientHttp2Stream>& stream);
  // The rest of it is nobody's.
  void Leave(ClientHttp2Stream& stream);
  void Consumed(ClientHttp2Stream& stream, size_t n);
  void Resume(ClientHttp2Stream& stream);
  const HttpClientOptions& options() const { return *options_; }

 private:
  struct Callbacks;

  void ReadLoop();
  void WriteLoop();
  absl::Status WriteOut();
  // All that is under way has failed.
  void Fail(const absl::Status& status);
  ClientHttp2Stream* Find(int32_t id);
  void FailStream(ClientHttp2Stream& stream, absl::Status status);
  void CloseStream(int32_t id, uint32_t error_code);
  bool TakeField(ClientHttp2Stream& stream, absl::string_view name,
                 absl::string_view value);
  bool TakeHeaders(ClientHttp2Stream& stream);

  const std::unique_ptr<net::Stream> stream_;
  const std::string peer_;
  const HttpClientOptions* const options_;
  const Deadline expiry_;  // of max_lifetime: no new requests after it
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::shared_ptr<ClientHttp2Stream>> streams_;
  bool dead_ = false;
  bool going_away_ = false;
  uint64_t received_ = 0;
  absl::Status why_;
  AutoResetEvent to_write_;
  Event room_;
  Greenlet<> reader_;
  Greenlet<> writer_;
};

// Http2Exchange
//
// A request and its response on a connection of HTTP/2.
class Http2Exchange final : public IncomingBody {
 public:
  Http2Exchange(std::shared_ptr<Http2Session> session, ClientTimeouts timeouts,
                Deadline total);
  // One that is under way is reset. Does not block.
  ~Http2Exchange() override;

  // Sends the request, and waits for the response's head.
  absl::Status Run(const OutgoingRequest& request);
  std::unique_ptr<ResponseHead> TakeHead() { return std::move(stream_->head); }
  // After Run() has failed: the server says that it has not acted; something of a
  // response has come; it is the producer's own failure.
  bool refused() const { return stream_->refused; }
  bool begun() const { return stream_->begun; }
  bool producer_failed() const { return producer_failed_; }

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override;
  HeaderView trailers() const override { return HeaderView(stream_->trailers); }

 private:
  class Writer;

  absl::Status WaitForHead(const bool* sender_done);

  const std::shared_ptr<Http2Session> session_;
  const std::shared_ptr<ClientHttp2Stream> stream_;
  const ClientTimeouts timeouts_;
  const Deadline total_;
  bool producer_failed_ = false;
  bool left_ = true;
  uint64_t received_before_ = 0;  // by the session, when the wait began
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_HTTP2_H_
