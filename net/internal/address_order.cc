#include "grove/net/internal/address_order.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace grove::net::net_internal {
namespace {

using Bytes = std::array<uint8_t, 16>;

// As IPv6; IPv4 is mapped (::ffff:192.0.2.1).
Bytes BytesOf(const Address& a) {
  Bytes bytes = {};
  if (a.is_v6()) {
    memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(a.raw())->sin6_addr, 16);
  } else {
    bytes[10] = bytes[11] = 0xff;
    memcpy(&bytes[12], &reinterpret_cast<const sockaddr_in*>(a.raw())->sin_addr, 4);
  }
  return bytes;
}

int CommonPrefix(const Bytes& a, const Bytes& b) {
  for (int i = 0; i < 128; ++i) {
    const int mask = 0x80 >> (i % 8);
    if ((a[i / 8] & mask) != (b[i / 8] & mask)) return i;
  }
  return 128;
}

struct Policy {
  Bytes prefix;
  int bits;
  int precedence;
  int label;
};

// RFC 6724, section 2.1; the longest prefix first.
constexpr Policy kPolicies[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, 50, 0},  // ::1
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 35, 4},         // IPv4
    {{}, 96, 1, 3},                                                  // ::/96
    {{0x20, 0x01}, 32, 5, 5},                                        // Teredo
    {{0x20, 0x02}, 16, 30, 2},                                       // 6to4
    {{0x3f, 0xfe}, 16, 1, 12},                                       // 6bone
    {{0xfe, 0xc0}, 10, 1, 11},                                       // site-local
    {{0xfc}, 7, 3, 13},                                              // ULA
    {{}, 0, 40, 1},                                                  // all others
};

const Policy& PolicyOf(const Bytes& a) {
  for (const Policy& p : kPolicies) {
    if (CommonPrefix(a, p.prefix) >= p.bits) return p;
  }
  return kPolicies[std::size(kPolicies) - 1];
}

int ScopeOf(const Bytes& a) {
  constexpr int kLink = 2, kSite = 5, kGlobal = 14;
  if (PolicyOf(a).label == 4) {
    const bool local = a[12] == 127 || (a[12] == 169 && a[13] == 254);
    return local ? kLink : kGlobal;
  }
  if (a[0] == 0xff) return a[1] & 15;  // multicast says it itself
  if (PolicyOf(a).label == 0) return kLink;
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) return kLink;
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0) return kSite;
  return kGlobal;
}

struct Candidate {
  Address address;
  std::optional<Address> source;
  int scope;
  bool scope_matches;  // that of its source
  bool label_matches;
  int precedence;
  int prefix;  // that it has in common with its source; IPv6 only
};

Candidate CandidateOf(const Address& address, std::optional<Address> source) {
  const Bytes to = BytesOf(address);
  const Bytes from = source ? BytesOf(*source) : Bytes{};
  return {
      .address = address,
      .source = source,
      .scope = ScopeOf(to),
      .scope_matches = source && ScopeOf(to) == ScopeOf(from),
      .label_matches = source && PolicyOf(to).label == PolicyOf(from).label,
      .precedence = PolicyOf(to).precedence,
      .prefix = source && address.is_v6() ? CommonPrefix(to, from) : 0,
  };
}

bool Before(const Candidate& a, const Candidate& b) {
  if (a.source.has_value() != b.source.has_value()) return a.source.has_value();  // 1
  if (a.scope_matches != b.scope_matches) return a.scope_matches;                 // 2
  if (a.label_matches != b.label_matches) return a.label_matches;                 // 5
  if (a.precedence != b.precedence) return a.precedence > b.precedence;           // 6
  if (a.scope != b.scope) return a.scope < b.scope;                               // 8
  if (a.address.is_v6() && b.address.is_v6()) return a.prefix > b.prefix;         // 9
  return false;                                                                   // 10
}

}  // namespace

std::optional<Address> SourceFor(const Address& destination) {
  const int family = destination.raw()->sa_family;
  const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) return std::nullopt;
  std::optional<Address> source;
  sockaddr_storage local;
  socklen_t size = sizeof local;
  auto* raw = reinterpret_cast<sockaddr*>(&local);
  // Any port will do, but 0 is none.
  const Address to = destination.WithPort(53);
  if (connect(fd, to.raw(), to.raw_size()) == 0 && getsockname(fd, raw, &size) == 0) {
    source = Address::FromRaw(raw, size)->WithPort(0);
  }
  close(fd);
  return source;
}

void SortAddresses(
    std::vector<Address>* addresses,
    const std::function<std::optional<Address>(const Address&)>& source_for) {
  if (addresses->size() < 2) return;
  std::vector<Candidate> candidates;
  for (const Address& a : *addresses) candidates.push_back(CandidateOf(a, source_for(a)));
  std::stable_sort(candidates.begin(), candidates.end(), &Before);
  for (size_t i = 0; i < candidates.size(); ++i) (*addresses)[i] = candidates[i].address;
}

}  // namespace grove::net::net_internal
