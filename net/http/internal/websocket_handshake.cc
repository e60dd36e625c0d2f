#include "grove/net/http/internal/websocket_handshake.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/net/http/internal/sha1.h"

namespace grove::http::http_internal {
namespace {

bool HasMember(HeaderView headers, absl::string_view name, absl::string_view member) {
  for (absl::string_view value : headers.GetAll(name)) {
    if (HasListMember(value, member)) return true;
  }
  return false;
}

// "Example.org:443" of https -> "example.org".
std::string HostOfScheme(absl::string_view host, bool secure) {
  std::string text = absl::AsciiStrToLower(host);
  const absl::string_view port = secure ? ":443" : ":80";
  if (absl::EndsWith(text, port)) text.resize(text.size() - port.size());
  return text;
}

}  // namespace

std::string AcceptOf(absl::string_view key) {
  return absl::Base64Escape(
      Sha1(absl::StrCat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
}

bool IsWebSocketKey(absl::string_view key) {
  std::string bytes;
  return key.size() == 24 && absl::Base64Unescape(key, &bytes) && bytes.size() == 16 &&
         absl::Base64Escape(bytes) == key;
}

std::optional<WebSocketRefusal> CheckWebSocketRequest(const Request& request) {
  const HeaderView headers = request.headers();
  if (request.version_major() != 1 || request.version_minor() < 1) {
    return WebSocketRefusal{400, "a WebSocket needs HTTP/1.1"};
  }
  if (request.method() != "GET") return WebSocketRefusal{405, "a WebSocket needs GET"};
  if (!HasMember(headers, "Upgrade", "websocket") ||
      !HasMember(headers, "Connection", "upgrade")) {
    return WebSocketRefusal{426, "this is for WebSocket only"};
  }
  const auto versions = headers.GetAll("Sec-WebSocket-Version");
  if (versions.size() != 1 || versions[0] != "13") {
    return WebSocketRefusal{426, "this is for version 13 of WebSocket"};
  }
  const auto keys = headers.GetAll("Sec-WebSocket-Key");
  if (keys.size() != 1 || !IsWebSocketKey(keys[0])) {
    return WebSocketRefusal{400, "no Sec-WebSocket-Key of 16 bytes"};
  }
  return std::nullopt;
}

bool MayComeFrom(const Request& request, absl::Span<const std::string> allowed) {
  const auto origins = request.headers().GetAll("Origin");
  if (origins.empty()) return true;
  if (origins.size() > 1) return false;
  absl::string_view origin = origins[0];
  for (const std::string& a : allowed) {
    if (a == "*" || absl::EqualsIgnoreCase(a, origin)) return true;
  }
  if (!allowed.empty()) return false;
  // Behind a proxy that ends TLS the origin says https and the connection does not, so
  // the schemes are not compared.
  const bool secure = absl::ConsumePrefix(&origin, "https://");
  if (!secure && !absl::ConsumePrefix(&origin, "http://")) return false;
  return HostOfScheme(origin, secure) == HostOfScheme(request.host(), secure);
}

std::vector<absl::string_view> ListOf(HeaderView headers, absl::string_view name) {
  std::vector<absl::string_view> members;
  for (absl::string_view value : headers.GetAll(name)) {
    for (;;) {
      const size_t comma = value.find(',');
      const absl::string_view member = absl::StripAsciiWhitespace(value.substr(0, comma));
      if (!member.empty()) members.push_back(member);
      if (comma == value.npos) break;
      value.remove_prefix(comma + 1);
    }
  }
  return members;
}

std::optional<std::vector<Extension>> ParseExtensions(HeaderView headers) {
  std::vector<Extension> extensions;
  // Values are tokens, quoted or not (9.1), so there is no comma or semicolon in them.
  for (absl::string_view member : ListOf(headers, "Sec-WebSocket-Extensions")) {
    Extension extension;
    for (bool first = true;; first = false) {
      const size_t end = member.find(';');
      absl::string_view part = absl::StripAsciiWhitespace(member.substr(0, end));
      std::optional<std::string> value;
      if (const size_t equals = part.find('='); !first && equals != part.npos) {
        absl::string_view text = absl::StripAsciiWhitespace(part.substr(equals + 1));
        part = absl::StripAsciiWhitespace(part.substr(0, equals));
        if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
          text = text.substr(1, text.size() - 2);
        }
        if (!IsToken(text)) return std::nullopt;
        value = std::string(text);
      }
      if (!IsToken(part)) return std::nullopt;
      if (first) {
        extension.name = std::string(part);
      } else {
        extension.parameters.emplace_back(part, std::move(value));
      }
      if (end == member.npos) break;
      member.remove_prefix(end + 1);
    }
    extensions.push_back(std::move(extension));
  }
  return extensions;
}

namespace {

constexpr absl::string_view kDeflate = "permessage-deflate";

// "8" to "15", without a zero before it (RFC 7692, 7.1.2.1).
std::optional<int> WindowBits(const std::optional<std::string>& value) {
  for (int bits = 8; bits <= 15; ++bits) {
    if (value == absl::StrCat(bits)) return bits;
  }
  return std::nullopt;
}

// What an offer or an answer says; `client_may_lack_bits` is for offers.
struct Said {
  bool server_no_context = false;
  bool client_no_context = false;
  std::optional<int> server_bits;
  bool client_bits_named = false;
  std::optional<int> client_bits;
};

std::optional<Said> ReadParameters(const Extension& extension, bool is_offer) {
  Said said;
  std::vector<absl::string_view> seen;
  for (const auto& [name, value] : extension.parameters) {
    if (std::count(seen.begin(), seen.end(), name) > 0) return std::nullopt;
    seen.push_back(name);
    if (name == "server_no_context_takeover" && !value) {
      said.server_no_context = true;
    } else if (name == "client_no_context_takeover" && !value) {
      said.client_no_context = true;
    } else if (name == "server_max_window_bits" && WindowBits(value)) {
      said.server_bits = WindowBits(value);
    } else if (name == "client_max_window_bits" &&
               (WindowBits(value) || (is_offer && !value))) {
      said.client_bits_named = true;
      said.client_bits = WindowBits(value);
    } else {
      return std::nullopt;
    }
  }
  return said;
}

}  // namespace

std::optional<DeflateAnswer> AnswerDeflateOffer(absl::Span<const Extension> offers,
                                                int window_bits, bool keep_context) {
  for (const Extension& offer : offers) {
    if (offer.name != kDeflate) continue;
    const std::optional<Said> said = ReadParameters(offer, /*is_offer=*/true);
    if (!said) continue;
    DeflateAnswer answer;
    DeflateParameters& p = answer.parameters;
    p.server_no_context_takeover = said->server_no_context || !keep_context;
    p.client_no_context_takeover = said->client_no_context || !keep_context;
    p.server_max_window_bits = std::min(window_bits, said->server_bits.value_or(15));
    // zlib makes no raw stream with so small a window.
    if (p.server_max_window_bits < 9) continue;
    p.client_max_window_bits = said->client_bits.value_or(15);
    answer.field = std::string(kDeflate);
    if (p.server_no_context_takeover) answer.field += "; server_no_context_takeover";
    if (p.client_no_context_takeover) answer.field += "; client_no_context_takeover";
    // Smaller than it need be is allowed, whether it was asked for or not (7.1.2.1).
    if (p.server_max_window_bits < 15) {
      absl::StrAppend(&answer.field,
                      "; server_max_window_bits=", p.server_max_window_bits);
    }
    // Only to one who has said that he can (7.1.2.2).
    if (said->client_bits_named) {
      p.client_max_window_bits = std::min(p.client_max_window_bits, window_bits);
      if (p.client_max_window_bits < 15) {
        absl::StrAppend(&answer.field,
                        "; client_max_window_bits=", p.client_max_window_bits);
      }
    }
    return answer;
  }
  return std::nullopt;
}

std::string DeflateOffer(int window_bits, bool keep_context) {
  std::string offer(kDeflate);
  if (!keep_context) offer += "; server_no_context_takeover; client_no_context_takeover";
  offer += "; client_max_window_bits";
  if (window_bits < 15) absl::StrAppend(&offer, "; server_max_window_bits=", window_bits);
  return offer;
}

std::optional<DeflateParameters> CheckDeflateAnswer(const Extension& answer,
                                                    int window_bits, bool keep_context) {
  if (answer.name != kDeflate) return std::nullopt;
  const std::optional<Said> said = ReadParameters(answer, /*is_offer=*/false);
  if (!said) return std::nullopt;
  DeflateParameters p;
  p.server_no_context_takeover = said->server_no_context;
  p.client_no_context_takeover = said->client_no_context || !keep_context;
  p.server_max_window_bits = said->server_bits.value_or(15);
  p.client_max_window_bits = std::min(window_bits, said->client_bits.value_or(15));
  // What was asked for must be kept to (7.1.1.1, 7.1.2.1).
  if (!keep_context && !p.server_no_context_takeover) return std::nullopt;
  if (p.server_max_window_bits > window_bits) return std::nullopt;
  if (p.client_max_window_bits < 9) return std::nullopt;
  return p;
}

}  // namespace grove::http::http_internal
