#ifndef GROVE_NET_HTTP_WEBSOCKET_OPTIONS_H_
#define GROVE_NET_HTTP_WEBSOCKET_OPTIONS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace grove::http {

// WebSocketDeflateOptions
//
// Compression of messages: permessage-deflate (RFC 7692). It is used if both sides want
// it. It costs memory for each WebSocket once a message was compressed: 2^(window_bits +
// 3) bytes and some for sending (32 KiB for 12), and up to 48 KiB for receiving. What is
// compressed together with a secret can tell something of it by its size (RFC 6455,
// 10.1; the attacks called CRIME and BREACH): leave it off where an attacker chooses a
// part of such messages.
struct WebSocketDeflateOptions {
  bool enabled = false;
  // How far back it looks for repetitions, as a power of two: 9 to 15. Also asked of the
  // peer, if he can.
  int window_bits = 12;
  // zlib's: 1 is fast, 9 is small.
  int level = 1;
  // Messages may refer to earlier ones: smaller, and both sides keep their windows in
  // any case.
  bool keep_context = false;
  // Messages that are shorter are sent as they are.
  size_t min_size = 128;
};

// WebSocketOptions
//
// Limits are on from the start. What the peer is told when it is over one stands in
// brackets: the code of the close frame (RFC 6455, 7.4.1).
//
//   AcceptWebSocket(request, response, {.max_message = 64 << 10, .subprotocols =
//   {"chat"}});
struct WebSocketOptions {
  // Of a message that is received, decompressed; known from the header of a frame where
  // that says it, else as soon as it gets larger [1009].
  size_t max_message = 1 << 20;
  // Control frames, and fragments without data, within ten seconds [1008].
  int max_control_frames = 1000;

  // A ping goes out when nothing has come from the peer for so long (up to twice that);
  // if then nothing comes for pong_timeout, the connection is taken for dead. Both only
  // while somebody receives. Infinite: none.
  absl::Duration ping_interval = absl::Seconds(30);
  absl::Duration pong_timeout = absl::Seconds(30);
  // For how long the peer may not take anything while a message is sent, looked at every
  // 64 KiB.
  absl::Duration write_timeout = absl::Minutes(1);
  // How long Close() waits at most for the peer to agree.
  absl::Duration close_timeout = absl::Seconds(5);

  // The subprotocols that this side speaks, the best first. A server takes the first of
  // them that the client offers; a client offers them, and takes no other.
  std::vector<std::string> subprotocols = {};

  // Servers: from pages of which origins browsers may connect: "https://example.org",
  // without a path; "*" is any. With none, the page's host and port must be those that
  // the request is for. Otherwise any page could use the WebSocket in the name of whoever
  // looks at it, with his cookies (cross-site WebSocket hijacking), since browsers ask
  // nobody but the server. Who sends no Origin is no browser, and may.
  std::vector<std::string> allowed_origins = {};

  WebSocketDeflateOptions deflate = {};
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_WEBSOCKET_OPTIONS_H_
