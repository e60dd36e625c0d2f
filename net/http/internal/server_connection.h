#ifndef GROVE_NET_HTTP_INTERNAL_SERVER_CONNECTION_H_
#define GROVE_NET_HTTP_INTERNAL_SERVER_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/clock.h"
#include "grove/net/http/internal/chunk_decoder.h"
#include "grove/net/http/internal/request_parser.h"
#include "grove/net/http/internal/server_core.h"
#include "grove/net/http/internal/upgraded_stream.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/stream.h"

namespace grove::http::http_internal {

// The body of the request that a connection has.
class Http1Body final : public RequestBody {
 public:
  void Begin(ServerConnection* connection, const RequestParser& parser);

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override;
  std::optional<uint64_t> length() const override {
    if (chunked_) return std::nullopt;
    return length_;
  }
  HeaderView trailers() const override {
    return done_ && chunked_ ? HeaderView(decoder_.trailers()) : HeaderView();
  }

  bool done() const { return done_; }
  // The client waits to be asked for it.
  bool awaited() const { return awaited_; }
  // Whether so much at most is left, as far as one knows.
  bool AtMost(uint64_t n) const { return chunked_ || left_ <= n; }
  // Reads what is left and forgets it; false if it is too much, or fails.
  bool Discard(uint64_t at_most);
  // What to answer for what went wrong with it; 0 if nothing has.
  int failed_with() const { return failed_with_; }
  const absl::Status& failure() const { return failure_; }

 private:
  absl::StatusOr<size_t> ReadSized(absl::Span<char> buffer);
  absl::StatusOr<size_t> ReadChunked(absl::Span<char> buffer);
  absl::Status AskForIt();
  absl::Status Fail(int status, absl::Status failure);
  // Of a read that returned this instead of bytes.
  absl::Status FailedRead(const absl::StatusOr<size_t>& n);

  ServerConnection* connection_ = nullptr;
  ChunkDecoder decoder_;
  bool chunked_ = false;
  bool awaited_ = false;
  bool done_ = true;
  uint64_t length_ = 0;
  uint64_t left_ = 0;
  uint64_t read_ = 0;
  int failed_with_ = 0;
  absl::Status failure_;
};

// The response to it.
class Http1Response final : public ResponseWriter {
 public:
  void Begin(ServerConnection* connection, bool is_head) {
    connection_ = connection;
    chunked_ = spoiled_ = false;
    Reset(is_head);
  }
  void End() { DropEncoder(); }
  bool spoiled() const { return spoiled_; }
  void Spoil() override;

 private:
  absl::Status SendWhole(absl::string_view body, std::optional<uint64_t> length,
                         bool with_body) override;
  absl::Status SendWholeFile(int fd, uint64_t offset, uint64_t count) override;
  absl::Status BeginBody(std::optional<uint64_t> length, bool with_body) override;
  absl::Status SendPiece(absl::string_view data) override;
  absl::Status EndBody() override;
  absl::Status FlushPieces() override;
  absl::StatusOr<net::Stream*> SendUpgrade(absl::string_view protocol,
                                           std::function<void()> on_drain) override;
  absl::Status DoWaitForDisconnect(Deadline deadline) override;
  void AppendHead(std::optional<uint64_t> length);

  ServerConnection* connection_ = nullptr;
  bool chunked_ = false;
  bool spoiled_ = false;
};

// Exchange
//
// What a connection needs while it has a request, and lends from the server: one without
// a request holds no buffer.
class Exchange {
 public:
  static constexpr size_t kBufferSize = 16 << 10;

  Exchange() : buffer_(new char[kBufferSize]) {}

  absl::string_view input() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void Consume(size_t n) { begin_ += n; }
  // Where to read to: not empty. The input may move; a head that was taken stays.
  absl::Span<char> RoomForHead();
  absl::Span<char> RoomForBody();
  void Filled(size_t n) { end_ += n; }
  // The head was taken; what points to it is good until EndRequest().
  void BeginRequest(size_t head_size) {
    begin_ += head_size;
    keep_ = begin_;
  }
  void EndRequest();
  void Clear();

  RequestParser parser;
  Request request;
  Http1Body body;
  Http1Response response;
  std::string out;  // to be written

 private:
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = kBufferSize;
  size_t begin_ = 0;              // input lies from here
  size_t end_ = 0;                // to here
  size_t keep_ = 0;               // what lies before is the head's
  std::unique_ptr<char[]> held_;  // the buffer with the head, if the body needed another
};

// ServerConnection
//
// One connection of a server, on the stack of its greenlet.
class ServerConnection final : public CoreConnection {
 public:
  ServerConnection(ServerCore* core, net::Stream* stream, bool secure);
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;
  ~ServerConnection();

  // Until its end. Not empty: what was read, if the client speaks HTTP/2.
  std::string Run();

  // A drain has ended its input.
  bool input_shut() const { return input_shut_; }

  bool Look(MonotonicNanos now) override;
  // Ends it if it has no request.
  void Drain() override;

 private:
  friend class ServerCore;
  friend class Http1Body;
  friend class Http1Response;

  enum class Phase : uint8_t { kFirstByte, kIdle, kHead, kBody, kWorking };

  // Each begins its time anew.
  void SetPhase(Phase phase) {
    phase_ = phase;
    ++phases_;
  }
  absl::Duration LimitOf(Phase phase) const;

  bool WaitForRequest();
  bool ReadHead();
  // Whether the connection may yet turn out to be one of HTTP/2, or has.
  bool MayBeHttp2() const;
  // False: the connection ends.
  bool Serve();
  void CallHandler();
  bool FinishResponse();
  void Refuse(int status, absl::string_view reason);
  void Log();
  void CloseGently();

  // Reads at least a byte; 0 is the end.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer);
  // What is held back.
  absl::Status FlushOut();
  absl::Status FlushOutWith(absl::string_view data, absl::string_view end = {});
  absl::Status FlushOutWithFile(int fd, uint64_t offset, uint64_t count);
  void AwaitWrite();
  template <typename WriteIt>
  absl::Status WriteWith(WriteIt write_it);
  void TryFlushOut();
  bool DecideToKeep(bool has_end);
  absl::Status WaitForDisconnect(Deadline deadline);
  absl::string_view Peer();

  net::Stream& stream_;
  const bool secure_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<UpgradedStream> upgraded_;  // once it has another protocol
  bool keep_ = true;                          // it goes on after this response
  bool close_ = false;                        // it must not
  bool serving_ = false;                      // it has a request whose head was read
  bool unread_ = false;                       // the client may still be sending
  bool timed_out_ = false;
  bool is_http2_ = false;
  bool input_shut_ = false;
  bool writing_ = false;
  bool broken_ = false;    // a write has failed: nothing may follow
  bool to_flush_ = false;  // in the core's list
  bool watched_ = false;   // a greenlet is in WaitForDisconnect()
  green_internal::WaiterList disconnect_waiters_;
  green_internal::WaiterList write_waiters_;
  uint64_t requests_ = 0;
  std::string peer_;
  absl::Time begin_;
  MonotonicNanos begun_ = 0;

  Phase phase_ = Phase::kFirstByte;
  uint64_t phases_ = 0;
  uint64_t seen_phases_ = ~uint64_t{0};
  MonotonicNanos seen_at_ = 0;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_SERVER_CONNECTION_H_
