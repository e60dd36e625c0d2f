#ifndef GROVE_NET_HTTP_INTERNAL_WEBSOCKET_HANDSHAKE_H_
#define GROVE_NET_HTTP_INTERNAL_WEBSOCKET_HANDSHAKE_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/net/http/headers.h"
#include "grove/net/http/request.h"

// What the opening handshake of RFC 6455 (4) says, without a connection.
namespace grove::http::http_internal {

// What Sec-WebSocket-Accept says to a key (4.2.2).
std::string AcceptOf(absl::string_view key);
// Whether it is 16 bytes in base64 (4.1).
bool IsWebSocketKey(absl::string_view key);

// WebSocketRefusal
//
// What a request that cannot become a WebSocket is answered.
struct WebSocketRefusal {
  int status;
  std::string reason;
};
// Nothing if the request is an opening handshake (4.2.1).
std::optional<WebSocketRefusal> CheckWebSocketRequest(const Request& request);

// MayComeFrom()
//
// Whether a page of this origin may open a WebSocket to what was asked for: one of
// `allowed` ("*" is all), or, if there are none, of the same host and port. Without the
// field it is no browser, which may.
bool MayComeFrom(const Request& request, absl::Span<const std::string> allowed);

// A field's values, as one list, in order; of "a, b" and "c" that is a, b, c. Members are
// without blanks, and none is empty.
std::vector<absl::string_view> ListOf(HeaderView headers, absl::string_view name);

// One extension that is offered or accepted: `name; key=value; key`.
struct Extension {
  std::string name;
  std::vector<std::pair<std::string, std::optional<std::string>>> parameters;
};
// Nothing if a value is malformed (9.1).
std::optional<std::vector<Extension>> ParseExtensions(HeaderView headers);

// DeflateParameters
//
// Of permessage-deflate (RFC 7692, 7.1), as agreed.
struct DeflateParameters {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  int server_max_window_bits = 15;
  int client_max_window_bits = 15;
};

// AnswerDeflateOffer()
//
// The first offer that can be taken, and what to answer; nothing if none can.
// `window_bits` is what this side wants to use for its own messages at most, and
// `keep_context` whether both sides may refer to earlier messages.
struct DeflateAnswer {
  DeflateParameters parameters;
  std::string field;
};
std::optional<DeflateAnswer> AnswerDeflateOffer(absl::Span<const Extension> offers,
                                                int window_bits, bool keep_context);
// What a client offers, and what it makes of the server's answer; nothing if it must not
// be taken (7.1: what was not offered, or is malformed).
std::string DeflateOffer(int window_bits, bool keep_context);
std::optional<DeflateParameters> CheckDeflateAnswer(const Extension& answer,
                                                    int window_bits, bool keep_context);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_WEBSOCKET_HANDSHAKE_H_
