#ifndef GROVE_NET_HTTP_WEBSOCKET_H_
#define GROVE_NET_HTTP_WEBSOCKET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/hub/deadline.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/http/websocket_options.h"

// WebSocket (RFC 6455): messages in both directions over what began as a request of
// HTTP/1.1. Here is the server's side; websocket_client.h is the client's. Over HTTP/2
// (RFC 8441) there is none.
namespace grove::http {

namespace http_internal {
class WebSocketCore;
}  // namespace http_internal

// WebSocketMessage
struct WebSocketMessage {
  enum class Type { kText, kBinary };

  Type type = Type::kText;
  std::string data;  // UTF-8, if it is a text
};

// WebSocket
//
// One end of a WebSocket.
//
//   void Handle(Request& request, ResponseWriter& response) {
//     absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response);
//     if (!ws.ok()) return;                     // it was answered
//     for (;;) {
//       absl::StatusOr<std::optional<WebSocketMessage>> m = ws->Receive();
//       if (!m.ok() || !m->has_value()) return;
//       if (!ws->Send((*m)->type, (*m)->data).ok()) return;
//     }
//   }
//
// One greenlet may receive while any number send: messages do not mix, and go out in the
// order of the calls. Two that receive at once are a fatal error. Pings are answered, and
// sent, while somebody receives (WebSocketOptions::ping_interval).
//
// Destroyed without Close() it tells the peer that it goes away (1001), if that takes no
// waiting. While a greenlet is inside of a call that is a fatal error.
//
// For all that follow:
//   Kill: throws. A message that was half sent is cut, and the connection with it; a
//       message that was half received is kept for the next call.
//   Threads: the hub that made it.
class WebSocket {
 public:
  using Type = WebSocketMessage::Type;

  WebSocket(WebSocket&&) noexcept;
  WebSocket& operator=(WebSocket&&) noexcept;
  ~WebSocket();

  // WebSocket::Receive()
  //
  // The next message, whole; nothing after the closing handshake: see close_code().
  //
  // Blocks: until there is one.
  // Deadline: returns kDeadlineExceeded; nothing is lost.
  // Errors, which stay: kUnavailable if the connection ended without a closing handshake,
  //     or no pong came; kInvalidArgument if the peer has broken the protocol or sent a
  //     text that is none, kResourceExhausted if it is over a limit (the peer was told).
  absl::StatusOr<std::optional<WebSocketMessage>> Receive(Deadline deadline = {});

  // WebSocket::ReceiveInto()
  //
  // The same, into a string whose memory is used again: no message allocates then. Its
  // content is lost in any case.
  absl::StatusOr<std::optional<Type>> ReceiveInto(std::string& data,
                                                  Deadline deadline = {});

  // WebSocket::Send(), WebSocket::SendText(), WebSocket::SendBinary()
  //
  // Sends a message. OK says that the kernel has taken it, not that the peer has.
  //
  // Blocks: while others send, and while the peer does not read; no longer than
  //     write_timeout without progress.
  // Deadline: returns kDeadlineExceeded. If nothing of the message has gone out, that is
  //     all; else the connection is closed, and later calls fail.
  // Errors: kInvalidArgument for a text that is not UTF-8 (nothing is sent),
  //     kUnavailable once the closing handshake has begun, and those of the connection.
  absl::Status Send(Type type, absl::string_view data, Deadline deadline = {});
  absl::Status SendText(absl::string_view text, Deadline deadline = {}) {
    return Send(Type::kText, text, deadline);
  }
  absl::Status SendBinary(absl::string_view data, Deadline deadline = {}) {
    return Send(Type::kBinary, data, deadline);
  }

  // WebSocket::Ping()
  //
  // Sends a ping, with up to 125 bytes. The answer shows only in that the connection is
  // not taken for dead. Contract as Send().
  absl::Status Ping(absl::string_view payload = "", Deadline deadline = {});

  // WebSocket::Close()
  //
  // The closing handshake: tells the peer why, waits until it agrees, and closes the
  // connection. Messages that come until then get to who receives, or are dropped. It may
  // be called twice, and by several greenlets.
  //
  // `code` is 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, 7.4); `reason` has
  // at most 123 bytes of UTF-8. Else kInvalidArgument, and nothing is done.
  //
  // Blocks: until then, no longer than close_timeout.
  // Deadline: returns kDeadlineExceeded; the connection is closed.
  absl::Status Close(uint16_t code = 1000, absl::string_view reason = "",
                     Deadline deadline = {});

  // WebSocket::close_code(), WebSocket::close_reason()
  //
  // What the peer said in its close frame; 1005 if it gave no code, 1006 if there was
  // none (yet).
  uint16_t close_code() const;
  const std::string& close_reason() const;

  // What both sides have agreed on; empty if nothing.
  const std::string& subprotocol() const;
  // Whether messages may be compressed.
  bool compresses() const;

 private:
  friend class http_internal::WebSocketCore;
  explicit WebSocket(std::shared_ptr<http_internal::WebSocketCore> core);

  std::shared_ptr<http_internal::WebSocketCore> core_;
};

// AcceptWebSocket()
//
// Makes the connection of a request a WebSocket, in its handler; it ends with that. Other
// fields of the 101 (cookies, say) are response.headers().
//
// A server that comes to its end (HttpServer::Stop()) closes it with 1001; a handler that
// only receives and sends then sees the end, and has the grace to return.
//
// Blocks: while the client does not take the answer.
// Errors: the request is no opening handshake (kInvalidArgument), or comes from a page
//     that may not (kPermissionDenied), or the server comes to its end (kUnavailable). It
//     was answered then: 400, 405, 426; 403; 503.
absl::StatusOr<WebSocket> AcceptWebSocket(Request& request, ResponseWriter& response,
                                          const WebSocketOptions& options = {});

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_WEBSOCKET_H_
