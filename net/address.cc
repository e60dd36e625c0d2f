#include "grove/net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace grove::net {
namespace {

absl::Status Malformed(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("bad address \"", text, "\": ", why,
                                                 " (wanted: IP:PORT, [IP6]:PORT, PORT)"));
}

}  // namespace

Address::Address() {
  memset(&raw_, 0, sizeof raw_);
  raw_.v4.sin_family = AF_INET;
}

absl::StatusOr<Address> Address::FromIp(absl::string_view ip, uint16_t port) {
  Address a;
  const std::string text(ip);
  if (text.find('\0') != std::string::npos) {  // where the system's functions would end
    return Malformed(absl::CHexEscape(ip), "it contains a NUL character");
  }
  if (inet_pton(AF_INET, text.c_str(), &a.raw_.v4.sin_addr) == 1) {
    a.raw_.v4.sin_port = htons(port);
    return a;
  }
  std::string host = text;
  uint32_t scope = 0;
  if (const size_t percent = text.find('%'); percent != std::string::npos) {
    const std::string zone = text.substr(percent + 1);
    host.resize(percent);
    scope = if_nametoindex(zone.c_str());
    if (scope == 0 && (!absl::SimpleAtoi(zone, &scope) || scope == 0)) {
      return Malformed(ip, absl::StrCat("no network interface \"", zone, "\""));
    }
  }
  memset(&a.raw_, 0, sizeof a.raw_);
  a.raw_.v6.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, host.c_str(), &a.raw_.v6.sin6_addr) != 1) {
    return Malformed(ip, "not an IP address");
  }
  a.raw_.v6.sin6_port = htons(port);
  a.raw_.v6.sin6_scope_id = scope;
  return a;
}

absl::StatusOr<Address> Address::Parse(absl::string_view text) {
  const size_t colon = text.rfind(':');
  const bool port_alone = colon == text.npos && !text.empty() &&
                          text.find_first_not_of("0123456789") == text.npos;
  if (colon == text.npos && !port_alone) return Malformed(text, "no port");
  uint32_t port;
  const absl::string_view port_text = port_alone ? text : text.substr(colon + 1);
  // SimpleAtoi would take a sign and blanks.
  if (port_text.empty() || port_text.find_first_not_of("0123456789") != port_text.npos ||
      !absl::SimpleAtoi(port_text, &port) || port > 65535) {
    return Malformed(text, "the port is not a number from 0 to 65535");
  }
  absl::string_view host = port_alone ? "" : text.substr(0, colon);
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host.front() == '[') {
    if (host.back() != ']') return Malformed(text, "no ']'");
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == host.npos) return Malformed(text, "no IPv6 address in '[]'");
  } else if (host.find(':') != host.npos) {
    return Malformed(text, "an IPv6 address needs '[]'");
  }
  absl::StatusOr<Address> a = FromIp(host, static_cast<uint16_t>(port));
  if (!a.ok()) return Malformed(text, "not an IP address");
  return a;
}

Address Address::Loopback(uint16_t port) {
  Address a;
  a.raw_.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a.WithPort(port);
}

bool Address::is_wildcard() const {
  return is_v6() ? IN6_IS_ADDR_UNSPECIFIED(&raw_.v6.sin6_addr) != 0
                 : raw_.v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

Address Address::Unmapped() const {
  if (!is_v6() || !IN6_IS_ADDR_V4MAPPED(&raw_.v6.sin6_addr)) return *this;
  Address a;
  memcpy(&a.raw_.v4.sin_addr, &raw_.v6.sin6_addr.s6_addr[12], 4);
  return a.WithPort(port());
}

uint16_t Address::port() const {
  return ntohs(is_v6() ? raw_.v6.sin6_port : raw_.v4.sin_port);
}

Address Address::WithPort(uint16_t port) const {
  Address a = *this;
  (is_v6() ? a.raw_.v6.sin6_port : a.raw_.v4.sin_port) = htons(port);
  return a;
}

std::string Address::ip() const {
  char text[INET6_ADDRSTRLEN];
  if (!is_v6()) return inet_ntop(AF_INET, &raw_.v4.sin_addr, text, sizeof text);
  std::string ip = inet_ntop(AF_INET6, &raw_.v6.sin6_addr, text, sizeof text);
  if (const uint32_t scope = raw_.v6.sin6_scope_id) {
    char name[IF_NAMESIZE];
    absl::StrAppend(&ip, "%", if_indextoname(scope, name) ? name : absl::StrCat(scope));
  }
  return ip;
}

std::string Address::ToString() const {
  return is_v6() ? absl::StrCat("[", ip(), "]:", port())
                 : absl::StrCat(ip(), ":", port());
}

bool operator==(const Address& a, const Address& b) {
  if (a.is_v6() != b.is_v6() || a.port() != b.port()) return false;
  if (!a.is_v6()) return a.raw_.v4.sin_addr.s_addr == b.raw_.v4.sin_addr.s_addr;
  return memcmp(&a.raw_.v6.sin6_addr, &b.raw_.v6.sin6_addr, 16) == 0 &&
         a.raw_.v6.sin6_scope_id == b.raw_.v6.sin6_scope_id;
}

absl::StatusOr<Address> Address::FromRaw(const sockaddr* raw, socklen_t size) {
  Address a;
  if (raw->sa_family == AF_INET && size >= sizeof a.raw_.v4) {
    memcpy(&a.raw_.v4, raw, sizeof a.raw_.v4);
    return a;
  }
  if (raw->sa_family == AF_INET6 && size >= sizeof a.raw_.v6) {
    memcpy(&a.raw_.v6, raw, sizeof a.raw_.v6);
    return a;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("address family ", raw->sa_family, " is not IP"));
}

}  // namespace grove::net
