#include "grove/net/internal/peer_counts.h"

#include <arpa/inet.h>
#include <netinet/in.h>

namespace grove::net::net_internal {

PeerKey PeerKeyOf(const Address& address) {
  if (!address.is_v6()) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.raw());
    return PeerKey(0, 0xffff'0000'0000 | ntohl(v4->sin_addr.s_addr));
  }
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address.raw())->sin6_addr;
  uint64_t high = 0;
  for (int i = 0; i < 8; ++i) high = high << 8 | v6.s6_addr[i];
  // Not all zero, which is nobody's: ::1 is somebody.
  if (!IN6_IS_ADDR_V4MAPPED(&v6)) return PeerKey(high, 1);
  uint64_t low = 0;
  for (int i = 8; i < 16; ++i) low = low << 8 | v6.s6_addr[i];
  return PeerKey(0, low);
}

}  // namespace grove::net::net_internal
