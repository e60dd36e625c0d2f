#ifndef GROVE_NET_INTERNAL_ADDRESS_ORDER_H_
#define GROVE_NET_INTERNAL_ADDRESS_ORDER_H_

#include <functional>
#include <optional>
#include <vector>

#include "grove/net/address.h"

namespace grove::net::net_internal {

// SourceFor()
//
// The local address that the kernel would connect from to reach this one; nothing if it
// cannot be reached. Sends nothing.
std::optional<Address> SourceFor(const Address& destination);

// SortAddresses()
//
// Puts the address that is best tried first in front: RFC 6724, section 6, with the table
// of its section 2.1. Those that are equal stay in their order, in which servers rotate
// them. Rule 9, the longest prefix, is for IPv6 only, as in most libraries: among IPv4
// addresses it would undo that rotation. Rules 3, 4 and 7 ask what the kernel does not
// tell. gai.conf(5) is not read.
void SortAddresses(
    std::vector<Address>* addresses,
    const std::function<std::optional<Address>(const Address&)>& source_for = SourceFor);

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_ADDRESS_ORDER_H_
