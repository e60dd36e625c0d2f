#ifndef GROVE_NET_HTTP_WEBSOCKET_CLIENT_H_
#define GROVE_NET_HTTP_WEBSOCKET_CLIENT_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/dial.h"
#include "grove/net/http/websocket.h"
#include "grove/net/stream.h"

namespace grove::http {

// WebSocketClientOptions
struct WebSocketClientOptions {
  WebSocketOptions socket = {};
  // Further fields of the request: Origin, Cookie, Authorization. Those of the handshake
  // itself are not among them.
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Of the server's answer.
  size_t max_head = 16 << 10;
  // How to reach the host; its deadline is for the handshake as well, which has 30
  // seconds at most.
  net::DialOptions dial = {};
};

// DialWebSocket()
//
// Connects to "ws://host[:port][/path][?query]".
//
//   absl::StatusOr<WebSocket> ws = DialWebSocket("ws://127.0.0.1:8080/ws");
//
// For wss:// make a TLS stream first, and use ConnectWebSocket(): this one knows no TLS.
//
// Blocks: until it stands.
// Deadline: options.dial.deadline; returns kDeadlineExceeded.
// Kill: throws; the connection is closed.
// Threads: any with a hub.
// Errors: kInvalidArgument for a URL that is none, or another scheme's; those of Dial(),
//     and of ConnectWebSocket().
absl::StatusOr<WebSocket> DialWebSocket(absl::string_view url,
                                        const WebSocketClientOptions& options = {});

// ConnectWebSocket()
//
// The same over a connection that stands, which it takes. `host` is what the field Host
// says, with the port unless it is the scheme's; `target` the path and the query.
//
// Errors: kFailedPrecondition if the server refuses, with its status in the message;
//     kInvalidArgument if its answer is not as RFC 6455 (4.1) wants it, or the arguments
//     are none; those of the stream.
absl::StatusOr<WebSocket> ConnectWebSocket(std::unique_ptr<net::Stream> stream,
                                           absl::string_view host,
                                           absl::string_view target,
                                           const WebSocketClientOptions& options = {});

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_WEBSOCKET_CLIENT_H_
