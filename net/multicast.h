#ifndef GROVE_NET_MULTICAST_H_
#define GROVE_NET_MULTICAST_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "grove/net/address.h"
#include "grove/net/udp.h"

// Multicast groups (RFC 3678, ip(7), ipv6(7)): what is sent to a group's address comes to
// all sockets that are bound to its port, and have joined it.
//
//   const Address group = *Address::Parse("239.1.2.3:5000");
//   UdpSocket socket = *UdpSocket::Bind(*Address::Parse("0.0.0.0:5000"),
//                                       {.reuse_port = true});
//   if (absl::Status s = JoinGroup(socket, group, {.interface = "eth0"}); !s.ok()) ...
//   auto datagram = socket.ReceiveFrom(absl::MakeSpan(buffer));
//
// Sending needs no membership: SendTo(data, group). How far it goes is MulticastTtl, and
// whether this machine gets it as well MulticastLoop (socket_options.h).
//
// Nothing here blocks. Errors name the group and the interface, and have the kernel's
// errno.
namespace grove::net {

// GroupOptions
struct GroupOptions {
  // The name of the network interface; empty for the one that the routing table, or the
  // scope of an IPv6 address, says.
  std::string interface = "";
  // Only what this one sends (source-specific multicast); its port does not count.
  std::optional<Address> source = {};
};

// JoinGroup(), LeaveGroup()
//
// The group's port does not count. A socket may be in several groups, gets what is sent
// to those and to itself, and leaves them when it is closed. kAlreadyExists if it is
// there already, with EADDRINUSE, and EADDRNOTAVAIL if it is not, when it should leave;
// EINVAL for what is no group.
absl::Status JoinGroup(const UdpSocket& socket, const Address& group,
                       const GroupOptions& options = {});
absl::Status LeaveGroup(const UdpSocket& socket, const Address& group,
                        const GroupOptions& options = {});

// SetGroupInterface()
//
// By which interface the socket sends to groups; empty for the routing table's.
absl::Status SetGroupInterface(const UdpSocket& socket, const std::string& interface);

}  // namespace grove::net

#endif  // GROVE_NET_MULTICAST_H_
