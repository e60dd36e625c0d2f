#ifndef GROVE_NET_HTTP_RESPONSE_H_
#define GROVE_NET_HTTP_RESPONSE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/hub/deadline.h"
#include "grove/net/http/headers.h"

namespace grove::net {
class Stream;
}  // namespace grove::net

namespace grove::http {

class ResponseWriter;

// BodyEncoder
//
// What the body of a response goes through on its way out: a content coding. Middleware
// gives it to ResponseWriter::set_encoder(); see Compress() in compress.h.
class BodyEncoder {
 public:
  enum class Step {
    kMore,   // what comes out may be less than went in
    kFlush,  // all that went in must come out
    kEnd,
  };
  virtual ~BodyEncoder() = default;

  // BodyEncoder::Begin()
  //
  // Before the head goes out: sees what the handler has made of it, and changes it. False
  // leaves the body as it is. `size` is that of the body, if it is known.
  virtual bool Begin(ResponseWriter& response, std::optional<uint64_t> size) = 0;

  // BodyEncoder::Encode()
  //
  // Appends to `out`. Given no more than 16 KiB at once.
  virtual absl::Status Encode(absl::string_view data, Step step, std::string* out) = 0;
};

// ResponseWriter
//
// The response to one request, whole
//
//   response.headers().Add("Content-Type", "text/plain");
//   return response.Send("Hello, world!");
//
// or piece by piece, of a length that need not be known:
//
//   while (...) if (absl::Status s = response.Write(piece); !s.ok()) return;
//
// What was written is collected, and goes out when there is enough of it, by Flush(), and
// when the handler returns. A response that is small enough then has a Content-Length,
// also if it was written in pieces; else it is chunked, or ends with the connection where
// the client speaks HTTP/1.0. A handler that sends nothing has answered with an empty
// body.
//
// The server adds Date, Content-Length or Transfer-Encoding, and Connection. A
// Content-Length of the handler's is kept to: writing more is an error, and after less
// the connection is cut, so that the client can tell. "Connection: close" ends the
// connection after the response.
//
// Of HEAD, 204 and 304 no body goes out, whatever is written; to write one with 204 or
// 304 is an error.
//
// For all that send:
//   Blocks: while the client does not read.
//   Deadline: the server's limits; a Timeout or DeadlineScope of the caller's.
//   Kill: throws; the connection is cut.
//   Threads: the hub that serves the connection.
// Errors: those of the connection. kInvalidArgument if a header or the status is none,
// kFailedPrecondition if it is too late for this call; nothing was sent by it then.
class ResponseWriter {
 public:
  ResponseWriter() = default;
  ResponseWriter(const ResponseWriter&) = delete;
  ResponseWriter& operator=(const ResponseWriter&) = delete;
  virtual ~ResponseWriter() = default;

  // Until the head goes out: the status, 200 at first; and the fields.
  void set_status(int status) { status_ = status; }
  int status() const { return status_; }
  HeaderMap& headers() { return headers_; }
  // Behind the body, if it is chunked and the client says "TE: trailers"; else they are
  // not sent. Until the end.
  HeaderMap& trailers() { return trailers_; }

  // ResponseWriter::Send()
  //
  // The whole body, and the end.
  absl::Status Send(absl::string_view body);
  // As Send(), with another status and a Content-Type.
  absl::Status Send(int status, absl::string_view content_type, absl::string_view body);

  // ResponseWriter::Write()
  //
  // The next piece of the body.
  absl::Status Write(absl::string_view data);

  // ResponseWriter::Flush()
  //
  // Sends what was written so far, at least the head.
  absl::Status Flush();

  // ResponseWriter::SendFile()
  //
  // `count` bytes of an open file from `offset` on, as the whole body, and the end. See
  // SendFile() in net/send_file.h. If the file turns out to be shorter, kDataLoss, and
  // the connection is cut.
  absl::Status SendFile(int fd, uint64_t offset, uint64_t count);

  // ResponseWriter::WriteFile()
  //
  // As Write(), of `count` bytes of an open file from `offset` on; 64 KiB of memory. If
  // the file turns out to be shorter, kDataLoss, and the connection is cut.
  absl::Status WriteFile(int fd, uint64_t offset, uint64_t count);

  // ResponseWriter::Finish()
  //
  // The end. When the handler returns it is called for it; a handler calls it to know
  // whether all went out.
  absl::Status Finish();

  // ResponseWriter::Upgrade()
  //
  // Answers "101 Switching Protocols" with "Upgrade: <protocol>" and the headers, and
  // gives the connection to the handler: bytes in both directions, first those that came
  // behind the request's head. It is the handler's until that returns; then it ends.
  // None of the server's times and rates is kept meanwhile (Stream::set_limits_apply()):
  // the handler has its own deadlines.
  //
  // A server that comes to its end calls `on_drain`, once, which must not block; without
  // one it ends reading, as a StreamServer does. After the grace the handler is killed.
  //
  // Errors, nothing was sent then: kInvalidArgument if the client has not asked for this
  // protocol, or sends a body; kUnavailable if the server comes to its end already;
  // kUnimplemented where a connection is not one request's alone (HTTP/2, HTTP/1.0).
  absl::StatusOr<net::Stream*> Upgrade(absl::string_view protocol,
                                       std::function<void()> on_drain = nullptr);

  // ResponseWriter::WaitForDisconnect()
  //
  // Waits until there is nobody any more to send to, for handlers that wait for something
  // else than their client; see ServeEvents() in event_stream.h. Sends the head first if
  // it has not gone out. Never OK: kUnavailable if the client has gone, kCancelled if the
  // server drains and the response should come to an end, kUnimplemented if the protocol
  // does not tell.
  //
  // One greenlet may wait here while another writes; the wait must be over when the
  // handler returns. A client that has ended its side of the connection has gone. Of one
  // whose request's body was not read yet, or that has sent more than 16 KiB of further
  // requests, it is seen only once a write fails. While it waits the server waits for
  // the client, so HttpServerOptions::stall_timeout counts: send something now and then.
  //
  // Deadline: returns kDeadlineExceeded.
  absl::Status WaitForDisconnect(Deadline deadline = {});

  // ResponseWriter::set_encoder()
  //
  // Until the head goes out. None if null; one at a time.
  void set_encoder(std::unique_ptr<BodyEncoder> encoder);

  // Whether it is too late for another status or header.
  bool head_sent() const { return state_ != State::kCollecting; }
  bool finished() const { return state_ == State::kFinished; }
  // Whether nothing was written yet.
  bool untouched() const { return state_ == State::kCollecting && collected_.empty(); }
  // Of the body as it is sent, without chunks' sizes.
  uint64_t body_bytes() const { return body_bytes_; }

 protected:
  // What one protocol does about it. SendWhole() and SendWholeFile() send head, body and
  // end; BeginBody(), SendPiece() and EndBody() a body in pieces. `length` is what
  // Content-Length shall say. `with_body` is false for HEAD, 204 and 304.
  virtual absl::Status SendWhole(absl::string_view body, std::optional<uint64_t> length,
                                 bool with_body) = 0;
  virtual absl::Status SendWholeFile(int fd, uint64_t offset, uint64_t count) = 0;
  virtual absl::Status BeginBody(std::optional<uint64_t> length, bool with_body) = 0;
  virtual absl::Status SendPiece(absl::string_view data) = 0;
  virtual absl::Status EndBody() = 0;
  virtual absl::Status FlushPieces() = 0;
  // Checks the request, and sends the head.
  virtual absl::StatusOr<net::Stream*> SendUpgrade(absl::string_view protocol,
                                                   std::function<void()> on_drain);
  // The response is not what it claims: the client must not take it for whole.
  virtual void Spoil() = 0;
  // See WaitForDisconnect().
  virtual absl::Status DoWaitForDisconnect(Deadline deadline);

  // For the next request.
  void Reset(bool is_head);
  // What is only needed until the end of this one.
  void DropEncoder() {
    if (!encoder_) return;
    encoder_.reset();
    std::string().swap(encoded_);
  }

 private:
  enum class State { kCollecting, kStreaming, kFinished };

  absl::Status CheckHead();
  absl::Status BeginStreaming();
  absl::Status WritePiece(absl::string_view data);
  absl::Status SendEncoded(absl::string_view body);
  absl::Status Encode(absl::string_view data, BodyEncoder::Step step);
  absl::Status EncodeAndSend(absl::string_view data, BodyEncoder::Step step);
  // Whether the body goes through the encoder; asks that once, before the head.
  bool BeginEncoding(std::optional<uint64_t> size);
  bool with_body() const;

  State state_ = State::kCollecting;
  bool is_head_ = false;
  int status_ = 200;
  HeaderMap headers_;
  HeaderMap trailers_;
  std::string collected_;             // of the body, before the head is sent
  std::optional<uint64_t> promised_;  // Content-Length of a body in pieces
  uint64_t written_ = 0;              // of the body, by the handler
  uint64_t body_bytes_ = 0;           // of the body, as it is sent
  std::unique_ptr<BodyEncoder> encoder_;
  std::string encoded_;
  bool encoding_ = false;
  bool encoder_broken_ = false;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_RESPONSE_H_
