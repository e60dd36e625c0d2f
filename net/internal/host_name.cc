#include "grove/net/internal/host_name.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace grove::net::net_internal {
namespace {

constexpr size_t kMaxName = 253;
constexpr size_t kMaxLabel = 63;

absl::Status BadName(absl::string_view name, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("look up \"", absl::CHexEscape(name), "\": ", why));
}

// As glibc: an interface, for addresses that mean something on one link only; or a
// number.
std::optional<uint32_t> ParseScope(const in6_addr& ip, const std::string& scope) {
  uint32_t index;
  if (IN6_IS_ADDR_LINKLOCAL(&ip) || IN6_IS_ADDR_MC_LINKLOCAL(&ip)) {
    if (index = if_nametoindex(scope.c_str()); index != 0) return index;
  }
  if (scope.find_first_not_of("0123456789") != scope.npos) return std::nullopt;
  if (!absl::SimpleAtoi(scope, &index)) return std::nullopt;
  return index;
}

std::optional<Address> ParseV6(const std::string& host) {
  const size_t percent = host.find('%');
  sockaddr_in6 raw = {};
  raw.sin6_family = AF_INET6;
  if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &raw.sin6_addr) != 1) {
    return std::nullopt;
  }
  if (percent != host.npos) {
    const auto scope = ParseScope(raw.sin6_addr, host.substr(percent + 1));
    if (!scope) return std::nullopt;
    raw.sin6_scope_id = *scope;
  }
  return *Address::FromRaw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

}  // namespace

std::optional<Address> ParseNumericHost(absl::string_view host) {
  const std::string text(host);
  if (text.find_first_of(std::string(" \t\n\v\f\r\0", 7)) != text.npos) {
    return std::nullopt;  // at which inet_aton() would stop reading
  }
  if (text.find(':') != text.npos) return ParseV6(text);
  sockaddr_in raw = {};
  raw.sin_family = AF_INET;
  if (inet_aton(text.c_str(), &raw.sin_addr) == 0) return std::nullopt;
  return *Address::FromRaw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

std::optional<Address> ParseHostsAddress(absl::string_view text) {
  in6_addr ip;
  const int family = text.find(':') == text.npos ? AF_INET : AF_INET6;
  if (inet_pton(family, std::string(text).c_str(), &ip) != 1) return std::nullopt;
  return ParseNumericHost(text);
}

std::optional<Address> Unmapped(const Address& address) {
  if (!address.is_v6()) return std::nullopt;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_addr;
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return std::nullopt;
  sockaddr_in raw = {};
  raw.sin_family = AF_INET;
  memcpy(&raw.sin_addr, &v6.s6_addr[12], sizeof raw.sin_addr);
  return *Address::FromRaw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

bool IsLoopback(const Address& address) {
  if (address.is_v6()) {
    const auto* raw = reinterpret_cast<const sockaddr_in6*>(address.raw());
    return IN6_IS_ADDR_LOOPBACK(&raw->sin6_addr);
  }
  const auto* raw = reinterpret_cast<const sockaddr_in*>(address.raw());
  return ntohl(raw->sin_addr.s_addr) >> 24 == 127;
}

absl::StatusOr<std::string> CanonicalHostName(absl::string_view name) {
  if (name.empty()) return BadName(name, "it is empty");
  for (const char c : name) {
    if (!absl::ascii_isascii(static_cast<unsigned char>(c))) {
      return BadName(name,
                     "beyond ASCII it has to be given as IDNA has it (\"xn--...\")");
    }
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) || strchr("\\/:@%[]\"", c)) {
      return BadName(
          name, absl::StrCat("no host name has a \"",
                             absl::CHexEscape(absl::string_view(&c, 1)), "\" in it"));
    }
  }
  absl::string_view labels = name;
  if (labels.back() == '.') labels.remove_suffix(1);
  if (labels.size() > kMaxName) return BadName(name, "more than 253 characters");
  for (const absl::string_view label : absl::StrSplit(labels, '.')) {
    if (label.empty()) return BadName(name, "there is nothing before a dot");
    if (label.size() > kMaxLabel) {
      return BadName(name, "more than 63 characters between two dots");
    }
  }
  return absl::AsciiStrToLower(name);
}

}  // namespace grove::net::net_internal
