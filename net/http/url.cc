#include "grove/net/http/url.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/net/address.h"

namespace grove::http {
namespace {

absl::Status Bad(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("no URL: ", why));
}

// Characters of RFC 3986, and '%' only before two hexadecimal digits.
absl::Status CheckCharacters(absl::string_view text) {
  if (text.size() > Url::kMaxSize) return Bad("longer than 64 KiB");
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3 || !absl::ascii_isxdigit(text[i + 1]) ||
          !absl::ascii_isxdigit(text[i + 2])) {
        return Bad("'%' without two hexadecimal digits");
      }
    } else if (!absl::ascii_isalnum(c) &&
               !absl::StrContains("-._~:/?#[]@!$&'()*+,;=", c)) {
      return Bad("a character that has to be percent-encoded");
    }
  }
  return absl::OkStatus();
}

// The parts of a URL or a reference (RFC 3986, appendix B).
struct Parts {
  bool has_scheme = false;
  bool has_authority = false;
  absl::string_view scheme;
  absl::string_view authority;
  absl::string_view path;
  absl::string_view query;  // with its '?'
};

Parts Split(absl::string_view text) {
  Parts parts;
  text = text.substr(0, text.find('#'));
  const size_t mark = text.find_first_of(":/?");
  if (mark != text.npos && text[mark] == ':') {
    parts.has_scheme = true;
    parts.scheme = text.substr(0, mark);
    text.remove_prefix(mark + 1);
  }
  if (absl::StartsWith(text, "//")) {
    text.remove_prefix(2);
    parts.has_authority = true;
    parts.authority = text.substr(0, text.find_first_of("/?"));
    text.remove_prefix(parts.authority.size());
  }
  parts.path = text.substr(0, text.find('?'));
  parts.query = text.substr(parts.path.size());
  return parts;
}

// RFC 3986, 5.2.4, of a path that begins with '/'.
std::string RemoveDotSegments(absl::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/', 1), path.size());
    const absl::string_view segment = path.substr(0, end);
    path.remove_prefix(end);
    if (segment == "/." || segment == "/..") {
      if (segment == "/..") out.erase(std::min(out.rfind('/'), out.size()));
      if (path.empty()) out.push_back('/');
    } else {
      absl::StrAppend(&out, segment);
    }
  }
  return out.empty() ? "/" : out;
}

bool IsNumber(absl::string_view label) {
  return !label.empty() &&
         (std::all_of(label.begin(), label.end(), absl::ascii_isdigit) ||
          absl::StartsWith(label, "0x"));
}

}  // namespace

absl::StatusOr<Url> Url::Parse(absl::string_view text) {
  if (absl::Status s = CheckCharacters(text); !s.ok()) return s;
  const Parts parts = Split(text);
  Url url;
  if (absl::EqualsIgnoreCase(parts.scheme, "https")) {
    url.secure_ = true;
  } else if (!absl::EqualsIgnoreCase(parts.scheme, "http")) {
    return Bad(parts.has_scheme ? "a scheme other than http and https" : "no scheme");
  }
  if (!parts.has_authority) return Bad("no host");
  if (absl::Status s = url.ParseAuthority(parts.authority); !s.ok()) return s;
  if (absl::StrContains(parts.path, '[') || absl::StrContains(parts.path, ']') ||
      absl::StrContains(parts.query, '[') || absl::StrContains(parts.query, ']')) {
    return Bad("a bracket that has to be percent-encoded");
  }
  url.SetTarget(parts.path, parts.query);
  return url;
}

absl::Status Url::ParseAuthority(absl::string_view authority) {
  if (absl::StrContains(authority, '@')) return Bad("it has userinfo");
  absl::string_view host = authority;
  absl::string_view port;
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  if (colon != authority.npos && (bracket == authority.npos || colon > bracket)) {
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
  }
  port_ = secure_ ? 443 : 80;
  if (!port.empty()) {
    uint32_t number = 0;
    if (port.size() > 5 || !std::all_of(port.begin(), port.end(), absl::ascii_isdigit) ||
        !absl::SimpleAtoi(port, &number) || number == 0 || number > 65535) {
      return Bad("a port that is none");
    }
    port_ = static_cast<uint16_t>(number);
  }
  return ParseHost(host);
}

absl::Status Url::ParseHost(absl::string_view host) {
  if (host.empty()) return Bad("no host");
  if (host[0] == '[') {
    if (host.size() < 3 || host.back() != ']') return Bad("a bracket without the other");
    host = host.substr(1, host.size() - 2);
    const absl::StatusOr<net::Address> address = net::Address::FromIp(host, 1);
    if (absl::StrContains(host, '%') || !address.ok() || !address->is_v6()) {
      return Bad("in brackets there is no IPv6 address");
    }
    bracketed_ = true;
    host_ = address->ip();  // one form for all
    return absl::OkStatus();
  }
  if (host.size() > 254) return Bad("a host that is too long");
  for (char c : host) {
    if (!absl::ascii_isalnum(c) && c != '-' && c != '.' && c != '_') {
      return Bad("a host with characters that no name has");
    }
  }
  host_ = absl::AsciiStrToLower(host);
  absl::string_view name = host_;
  absl::ConsumeSuffix(&name, ".");
  if (name.empty() || name[0] == '.' || absl::StrContains(name, "..")) {
    return Bad("a host with an empty label");
  }
  // A name that ends with a number is an address, in whatever form; one form is enough.
  const size_t dot = name.rfind('.');
  if (IsNumber(dot == name.npos ? name : name.substr(dot + 1)) &&
      !net::Address::FromIp(host_, 1).ok()) {
    return Bad("a host that ends with a number and is no IPv4 address");
  }
  return absl::OkStatus();
}

void Url::SetTarget(absl::string_view path, absl::string_view query) {
  path_ = path.empty() ? "/" : std::string(path);
  query_ = std::string(query);
}

absl::StatusOr<Url> Url::Resolve(absl::string_view reference) const {
  std::string encoded;
  for (unsigned char c : reference) {
    if (c == ' ' || c >= 0x80) {
      absl::StrAppend(&encoded, "%", absl::Hex(c, absl::kZeroPad2));
    } else {
      encoded.push_back(static_cast<char>(c));
    }
  }
  if (absl::Status s = CheckCharacters(encoded); !s.ok()) return s;
  const Parts parts = Split(encoded);
  if (parts.has_scheme) return Parse(encoded);
  if (parts.has_authority) return Parse(absl::StrCat(scheme(), ":", encoded));
  Url url = *this;
  if (parts.path.empty()) {
    if (!parts.query.empty()) url.query_ = std::string(parts.query);
    return url;
  }
  const std::string path =
      parts.path[0] == '/'
          ? std::string(parts.path)
          : absl::StrCat(path_.substr(0, path_.rfind('/') + 1), parts.path);
  if (absl::StrContains(encoded, '[') || absl::StrContains(encoded, ']')) {
    return Bad("a bracket that has to be percent-encoded");
  }
  url.SetTarget(RemoveDotSegments(path), parts.query);
  if (url.ToString().size() > kMaxSize) return Bad("longer than 64 KiB");
  return url;
}

std::string Url::authority() const {
  const std::string host = bracketed_ ? absl::StrCat("[", host_, "]") : host_;
  return port_ == (secure_ ? 443 : 80) ? host : absl::StrCat(host, ":", port_);
}

std::string Url::host_and_port() const {
  return absl::StrCat(bracketed_ ? "[" : "", host_, bracketed_ ? "]:" : ":", port_);
}

std::string Url::origin() const { return absl::StrCat(scheme(), "://", host_and_port()); }

std::string Url::ToString() const {
  return absl::StrCat(scheme(), "://", authority(), path_, query_);
}

std::string Url::ForLog() const {
  std::string text = absl::StrCat(scheme(), "://", authority(), path_);
  if (!query_.empty()) absl::StrAppend(&text, "?[", query_.size() - 1, " bytes]");
  return text;
}

}  // namespace grove::http
