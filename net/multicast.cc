#include "grove/net/multicast.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "grove/green/status.h"

namespace grove::net {
namespace {

// Zero for none.
absl::StatusOr<unsigned> IndexOf(const std::string& interface) {
  if (interface.empty()) return 0u;
  const unsigned index = if_nametoindex(interface.c_str());
  if (index != 0) return index;
  return ErrnoStatus(errno, absl::StrCat("the network interface '", interface, "'"));
}

void Put(const Address& from, sockaddr_storage& to) {
  memcpy(&to, from.raw(), from.raw_size());
}

// Groups of IPv4 are joined at its own level, also by a socket for both versions.
absl::Status Change(const char* verb, const UdpSocket& socket, const Address& group,
                    const GroupOptions& options, int any_source, int one_source) {
  const absl::StatusOr<unsigned> index = IndexOf(options.interface);
  if (!index.ok()) return index.status();
  const int level = group.is_v6() ? IPPROTO_IPV6 : IPPROTO_IP;
  int result;
  if (options.source) {
    group_source_req request = {};
    request.gsr_interface = *index;
    Put(group, request.gsr_group);
    Put(*options.source, request.gsr_source);
    result = setsockopt(socket.fd(), level, one_source, &request, sizeof request);
  } else {
    group_req request = {};
    request.gr_interface = *index;
    Put(group, request.gr_group);
    result = setsockopt(socket.fd(), level, any_source, &request, sizeof request);
  }
  if (result == 0) return absl::OkStatus();
  const int error = errno;
  return ErrnoStatus(
      error, absl::StrCat(verb, " group ", group.WithPort(0).ToString(),
                          options.interface.empty() ? "" : " on ", options.interface));
}

}  // namespace

absl::Status JoinGroup(const UdpSocket& socket, const Address& group,
                       const GroupOptions& options) {
  // Else Linux gives it what comes to any group that any socket of this machine has
  // joined (ip(7), IP_MULTICAST_ALL). Kernels before 4.20 know that of IPv4 only.
  const int off = 0;
  setsockopt(socket.fd(), IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
  setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof off);
  return Change("join", socket, group, options, MCAST_JOIN_GROUP,
                MCAST_JOIN_SOURCE_GROUP);
}

absl::Status LeaveGroup(const UdpSocket& socket, const Address& group,
                        const GroupOptions& options) {
  return Change("leave", socket, group, options, MCAST_LEAVE_GROUP,
                MCAST_LEAVE_SOURCE_GROUP);
}

absl::Status SetGroupInterface(const UdpSocket& socket, const std::string& interface) {
  const absl::StatusOr<unsigned> index = IndexOf(interface);
  if (!index.ok()) return index.status();
  int family = 0;
  socklen_t size = sizeof family;
  getsockopt(socket.fd(), SOL_SOCKET, SO_DOMAIN, &family, &size);
  int result = 0;
  if (family == AF_INET6) {
    const int number = static_cast<int>(*index);
    result =
        setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &number, sizeof number);
  }
  // Of a socket for both versions, for what it sends to IPv4's groups.
  int v6_only = family == AF_INET6 ? 1 : 0;
  size = sizeof v6_only;
  if (family == AF_INET6) {
    getsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &size);
  }
  if (result == 0 && v6_only == 0) {
    ip_mreqn request = {};
    request.imr_ifindex = static_cast<int>(*index);
    result =
        setsockopt(socket.fd(), IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
  }
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno,
                     absl::StrCat("send to groups by interface '", interface, "'"));
}

}  // namespace grove::net
