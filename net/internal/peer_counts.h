#ifndef GROVE_NET_INTERNAL_PEER_COUNTS_H_
#define GROVE_NET_INTERNAL_PEER_COUNTS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "grove/net/address.h"

namespace grove::net::net_internal {

// What counts as one peer: an IPv4 address, or a network of IPv6 (/64), all of which one
// host may use. Zeros: nobody knows.
using PeerKey = std::pair<uint64_t, uint64_t>;
inline constexpr PeerKey kNoPeer = {};
PeerKey PeerKeyOf(const Address& address);

// PeerCounts
//
// How many connections each peer has.
class PeerCounts {
 public:
  // False, and not counted, if the peer has `limit`.
  bool Enter(PeerKey peer, size_t limit) {
    size_t& n = counts_[peer];
    if (n >= limit) return false;
    ++n;
    return true;
  }
  void Leave(PeerKey peer) {
    const auto it = counts_.find(peer);
    if (--it->second == 0) counts_.erase(it);
  }

 private:
  std::map<PeerKey, size_t> counts_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_PEER_COUNTS_H_
