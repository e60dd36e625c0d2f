#ifndef GROVE_NET_HTTP_INTERNAL_WEBSOCKET_CORE_H_
#define GROVE_NET_HTTP_INTERNAL_WEBSOCKET_CORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/clock.h"
#include "grove/net/http/internal/utf8.h"
#include "grove/net/http/internal/websocket_deflate.h"
#include "grove/net/http/internal/websocket_frames.h"
#include "grove/net/http/internal/websocket_handshake.h"
#include "grove/net/http/websocket.h"
#include "grove/net/stream.h"
#include "grove/sync/mutex.h"

namespace grove::http::http_internal {

// Whether a close frame may carry this code (RFC 6455, 7.4).
bool IsCloseCode(uint16_t code);

// WebSocketCore
//
// What is behind a WebSocket: a state for receiving, of one greenlet at a time, and one
// for sending, under a lock. Control frames are not sent in place, but noted: whoever
// sends next takes them along; if nobody does, they are written without waiting; and if
// that is not possible, a greenlet is made that waits. So receiving never waits for
// sending, and two ends that both only send cannot wait for each other.
class WebSocketCore {
 public:
  WebSocketCore(bool is_client, const WebSocketOptions& options);
  WebSocketCore(const WebSocketCore&) = delete;
  WebSocketCore& operator=(const WebSocketCore&) = delete;
  ~WebSocketCore();

  struct Agreed {
    std::string subprotocol;
    std::optional<DeflateParameters> deflate;
  };
  // The stream is borrowed, or owned as well. What was read from it already is `ahead`.
  void Open(net::Stream* stream, std::unique_ptr<net::Stream> owned,
            absl::string_view ahead, Agreed agreed);
  static WebSocket Wrap(std::shared_ptr<WebSocketCore> core) {
    return WebSocket(std::move(core));
  }
  // The end: the stream is not touched any more. It may block, under a shield.
  void Abandon();
  // Begins to close, in a greenlet of its own.
  void Drain();

  // See WebSocket.
  absl::StatusOr<std::optional<WebSocket::Type>> Receive(std::string& data,
                                                         Deadline deadline);
  absl::Status Send(WebSocket::Type type, absl::string_view data, Deadline deadline);
  absl::Status Ping(absl::string_view payload, Deadline deadline);
  absl::Status Close(uint16_t code, absl::string_view reason, Deadline deadline);

  uint16_t close_code() const { return close_code_; }
  const std::string& close_reason() const { return close_reason_; }
  const Agreed& agreed() const { return agreed_; }

 private:
  using Piece = FrameReader::Piece;
  class Receiving;
  class Sending;

  // --- receiving ---
  // True: message_ is whole. False: failed, closed, or there is no more.
  bool Decode();
  // More input, without waiting.
  bool ReadMore();
  // What is left of the input is needed later.
  void KeepInput();
  bool TakePiece(const Piece& piece);
  bool CheckFrame(const Piece& piece);
  bool TakeData(const Piece& piece);
  bool TakeControl(const Piece& piece);
  bool TakeClose();
  bool MayHaveControlFrame();
  bool MayBeWithoutData();
  absl::Status WaitForInput(Deadline deadline, bool* looked);
  void KeepAlive();

  // --- the end ---
  // Tells the peer, and fails from now on. Returns false.
  bool Refuse(uint16_t code, absl::Status failure);
  // The connection is gone, or may not be used any more.
  void Break(absl::Status failure);
  absl::Status Agree(Deadline deadline);
  absl::Status CloseStream(Deadline deadline);
  bool ended() const { return !failure_.ok() || close_received_; }

  // --- sending ---
  absl::Status CheckOpen() const;
  absl::Status Write(absl::string_view payload, bool begun, Deadline deadline);
  absl::Status WriteFrame(uint8_t opcode, bool compressed, absl::string_view payload,
                          Deadline deadline);
  void QueueClose(uint16_t code, absl::string_view reason);
  void EncodeControls();
  // controls_ is empty.
  void ControlsAreOut();
  absl::Status WriteControls(Deadline deadline);
  absl::Status PushControls();
  void TryWriteControls();

  // First what every message touches, close together: of a thousand connections little
  // else stays in the processor's caches.
  net::Stream* stream_ = nullptr;
  const bool is_client_;
  bool receiving_ = false;
  bool dropping_ = false;  // by Close(), for nobody
  bool drained_ = false;   // the last read has taken all there was
  bool end_ = false;       // of the stream
  bool heard_ = false;     // since the last look of KeepAlive()
  bool in_message_ = false;
  bool compressed_ = false;
  bool read_some_ = false;
  bool input_is_kept_ = false;  // in kept_, or else in what all of a thread read into
  bool close_received_ = false;
  bool close_queued_ = false;
  bool closed_ = false;
  bool has_controls_ = false;  // in controls_, pong_, ping_ or close_
  WebSocket::Type type_ = WebSocket::Type::kText;
  absl::Status failure_;
  absl::Status read_error_;
  absl::Span<char> input_;  // what reader_ has not had
  FrameReader reader_;
  std::string message_;
  MonotonicNanos look_at_ = 0;
  green_internal::WaiterList close_waiters_;
  std::unique_ptr<MessageInflater> inflater_;
  std::unique_ptr<MessageDeflater> deflater_;
  Mutex writer_;
  FrameWriter frames_;
  const WebSocketOptions options_;

  // Receiving.
  bool pinged_ = false;
  int control_frames_left_;
  size_t added_ = 0;        // to the message, by a compressed frame
  int reads_in_a_row_ = 0;  // without a message
  MonotonicNanos control_frames_since_ = 0;
  std::string kept_;
  std::string control_;
  Utf8Checker utf8_;

  // The end.
  bool closing_ = false;  // somebody closes the stream
  bool drains_ = false;
  uint16_t close_code_ = 1006;
  std::string close_reason_;
  Greenlet<> drainer_;

  // Sending.
  std::string out_;       // the frame that is sent, if not at once
  std::string deflated_;  // its payload, if it is compressed
  std::string controls_;  // frames to be written before it
  std::optional<std::string> pong_, ping_, close_;
  Greenlet<> flusher_;

  std::unique_ptr<net::Stream> owned_;
  Agreed agreed_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_WEBSOCKET_CORE_H_
