#include "grove/net/http/websocket_client.h"

#include <errno.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/websocket_core.h"

namespace grove::http {
namespace {

using http_internal::WebSocketCore;

constexpr absl::Duration kHandshakeTime = absl::Seconds(30);

std::string NewKey() {
  std::string bytes(16, '\0');
  // Never less than asked for up to 256 bytes (getrandom(2)).
  ssize_t n;
  do {
    n = getrandom(bytes.data(), bytes.size(), 0);
  } while (n < 0 && errno == EINTR);
  GROVE_CHECK(n == static_cast<ssize_t>(bytes.size()), "getrandom gave ", n, " bytes");
  return absl::Base64Escape(bytes);
}

bool IsTarget(absl::string_view target) {
  return absl::StartsWith(target, "/") &&
         std::all_of(target.begin(), target.end(),
                     [](unsigned char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

bool AreDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

absl::Status NoHandshake(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("connect a WebSocket: the server's answer: ", what));
}

// The head of a response. Views of its text.
struct Head {
  int status = 0;
  std::vector<Field> fields;
};

absl::StatusOr<Head> ParseHead(absl::string_view text) {
  Head head;
  for (bool first = true;; first = false) {
    const size_t end = text.find("\r\n");
    const absl::string_view line = text.substr(0, end);
    if (line.empty()) return head;
    text.remove_prefix(end + 2);
    if (first) {
      // "HTTP/1.1 101 " and maybe a reason.
      if (!absl::StartsWith(line, "HTTP/1.1 ") || line.size() < 12 ||
          (line.size() > 12 && line[12] != ' ') || !IsFieldValue(line) ||
          !AreDigits(line.substr(9, 3)) ||
          !absl::SimpleAtoi(line.substr(9, 3), &head.status) || head.status < 100) {
        return NoHandshake("no status line of HTTP/1.1");
      }
      continue;
    }
    const size_t colon = line.find(':');
    const absl::string_view name = line.substr(0, colon);
    if (colon == line.npos || !IsToken(name)) return NoHandshake("a malformed field");
    const absl::string_view value = absl::StripAsciiWhitespace(line.substr(colon + 1));
    if (!IsFieldValue(value)) return NoHandshake("a malformed field");
    head.fields.push_back({name, value});
  }
}

// What is agreed on, or why there is no handshake (4.1).
absl::StatusOr<WebSocketCore::Agreed> CheckAnswer(const Head& head, absl::string_view key,
                                                  const WebSocketOptions& options) {
  using namespace http_internal;
  const HeaderView headers{absl::MakeConstSpan(head.fields)};
  if (head.status != 101) {
    return absl::FailedPreconditionError(
        absl::StrCat("connect a WebSocket: the server answers ", head.status));
  }
  const auto upgrade = headers.GetAll("Upgrade");
  if (upgrade.size() != 1 || !absl::EqualsIgnoreCase(upgrade[0], "websocket")) {
    return NoHandshake("no \"Upgrade: websocket\"");
  }
  const auto connection = ListOf(headers, "Connection");
  if (std::none_of(connection.begin(), connection.end(), [](absl::string_view member) {
        return absl::EqualsIgnoreCase(member, "upgrade");
      })) {
    return NoHandshake("no \"Connection: Upgrade\"");
  }
  const auto accept = headers.GetAll("Sec-WebSocket-Accept");
  if (accept.size() != 1 || accept[0] != AcceptOf(key)) {
    return NoHandshake("a wrong Sec-WebSocket-Accept");
  }
  WebSocketCore::Agreed agreed;
  if (const auto protocols = headers.GetAll("Sec-WebSocket-Protocol");
      !protocols.empty()) {
    const auto& ours = options.subprotocols;
    if (protocols.size() != 1 ||
        std::find(ours.begin(), ours.end(), protocols[0]) == ours.end()) {
      return NoHandshake("a subprotocol that was not offered");
    }
    agreed.subprotocol = std::string(protocols[0]);
  }
  const auto extensions = ParseExtensions(headers);
  if (!extensions || extensions->size() > (options.deflate.enabled ? 1 : 0)) {
    return NoHandshake("extensions that were not offered");
  }
  if (!extensions->empty()) {
    agreed.deflate = CheckDeflateAnswer(extensions->front(), options.deflate.window_bits,
                                        options.deflate.keep_context);
    if (!agreed.deflate)
      return NoHandshake("an extension that was not offered like this");
  }
  return agreed;
}

absl::StatusOr<std::string> MakeRequest(absl::string_view host, absl::string_view target,
                                        absl::string_view key,
                                        const WebSocketClientOptions& options) {
  const auto bad = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("connect a WebSocket: ", what));
  };
  if (!IsTarget(target)) return bad("the target has to begin with a slash");
  if (host.empty() || !IsFieldValue(host) || absl::StrContains(host, ' ')) {
    return bad("the host is none");
  }
  std::string request = absl::StrCat(
      "GET ", target, " HTTP/1.1\r\nHost: ", host,
      "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", key,
      "\r\nSec-WebSocket-Version: 13\r\n");
  const WebSocketOptions& socket = options.socket;
  for (const std::string& protocol : socket.subprotocols) {
    if (!IsToken(protocol)) return bad("a subprotocol that is no token");
  }
  if (!socket.subprotocols.empty()) {
    absl::StrAppend(&request,
                    "Sec-WebSocket-Protocol: ", absl::StrJoin(socket.subprotocols, ", "),
                    "\r\n");
  }
  if (socket.deflate.enabled) {
    absl::StrAppend(&request, "Sec-WebSocket-Extensions: ",
                    http_internal::DeflateOffer(socket.deflate.window_bits,
                                                socket.deflate.keep_context),
                    "\r\n");
  }
  for (const auto& [name, value] : options.headers) {
    if (!IsToken(name) || !IsFieldValue(value)) {
      return bad(absl::StrCat("a field that is none: ", absl::CHexEscape(name)));
    }
    absl::StrAppend(&request, name, ": ", value, "\r\n");
  }
  return request + "\r\n";
}

}  // namespace

absl::StatusOr<WebSocket> ConnectWebSocket(std::unique_ptr<net::Stream> stream,
                                           absl::string_view host,
                                           absl::string_view target,
                                           const WebSocketClientOptions& options) {
  const Deadline deadline = std::min(options.dial.deadline, Deadline(kHandshakeTime));
  const std::string key = NewKey();
  const absl::StatusOr<std::string> request = MakeRequest(host, target, key, options);
  if (!request.ok()) return request.status();
  if (absl::Status s = stream->Write(*request, deadline); !s.ok()) return s;
  std::string ahead;
  const absl::StatusOr<std::string> text =
      stream->ReadUntil("\r\n\r\n", ahead, options.max_head, deadline);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Head> head = ParseHead(*text);
  if (!head.ok()) return head.status();
  absl::StatusOr<WebSocketCore::Agreed> agreed = CheckAnswer(*head, key, options.socket);
  if (!agreed.ok()) return agreed.status();
  const auto core = std::make_shared<WebSocketCore>(/*is_client=*/true, options.socket);
  net::Stream* const borrowed = stream.get();
  core->Open(borrowed, std::move(stream), ahead, *std::move(agreed));
  return WebSocketCore::Wrap(core);
}

absl::StatusOr<WebSocket> DialWebSocket(absl::string_view url,
                                        const WebSocketClientOptions& options) {
  const auto bad = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("connect a WebSocket: \"", absl::CHexEscape(url), "\": ", what));
  };
  absl::string_view rest = url;
  if (!absl::StartsWithIgnoreCase(rest, "ws://")) return bad("not ws://");
  rest.remove_prefix(5);
  const size_t end = std::min(rest.size(), rest.find_first_of("/?#"));
  const absl::string_view authority = rest.substr(0, end);
  rest.remove_prefix(end);
  const std::string target = absl::StrCat(absl::StartsWith(rest, "/") ? "" : "/", rest);
  if (absl::StrContains(authority, '@')) return bad("it has a user in it");
  absl::string_view host = authority;
  int port = 80;
  const size_t colon = host.rfind(':');
  if (colon != host.npos && host.find(']', colon) == host.npos) {
    const absl::string_view digits = host.substr(colon + 1);
    if (!AreDigits(digits) || !absl::SimpleAtoi(digits, &port) || port < 1 ||
        port > 65535) {
      return bad("no port");
    }
    host = host.substr(0, colon);
  }
  if (absl::ConsumePrefix(&host, "[") && !absl::ConsumeSuffix(&host, "]")) {
    return bad("no host");
  }
  if (host.empty() || !IsTarget(target)) return bad("no URL");
  WebSocketClientOptions with_deadline = options;
  with_deadline.dial.deadline = std::min(options.dial.deadline, Deadline(kHandshakeTime));
  absl::StatusOr<net::TcpStream> stream =
      net::Dial(host, static_cast<uint16_t>(port), with_deadline.dial);
  if (!stream.ok()) return stream.status();
  return ConnectWebSocket(std::make_unique<net::TcpStream>(*std::move(stream)), authority,
                          target, with_deadline);
}

}  // namespace grove::http
