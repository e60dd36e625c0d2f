#ifndef GROVE_NET_INTERNAL_PASSENGERS_H_
#define GROVE_NET_INTERNAL_PASSENGERS_H_

#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "grove/net/internal/socket.h"
#include "grove/net/peer_credentials.h"

// What travels along with bytes through a Unix socket: descriptors (SCM_RIGHTS), and who
// has sent them (SCM_CREDENTIALS).
namespace grove::net::net_internal {

constexpr size_t kMaxFds = 253;  // SCM_MAX_FD, which is not in the headers

// OutgoingFds
//
// The control message of a sendmsg(2).
class OutgoingFds {
 public:
  // At most kMaxFds; of none there is no control message.
  OutgoingFds(msghdr& message, absl::Span<const int> fds);

 private:
  alignas(cmsghdr) char control_[CMSG_SPACE(kMaxFds * sizeof(int))];
};

// IncomingPassengers
//
// The room for the control messages of a recvmsg(2).
class IncomingPassengers {
 public:
  // With `take_fds` false, descriptors that come are closed by the kernel.
  IncomingPassengers(msghdr& message, bool take_fds);

  // Takes what has come. kResourceExhausted if more descriptors came than `max_fds`, or
  // than this process may have; all are closed then.
  absl::Status Take(const msghdr& message, size_t max_fds, Operation operation,
                    std::vector<int>& fds, std::optional<PeerCredentials>& sender);

 private:
  const bool take_fds_;
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(ucred)) +
                                 CMSG_SPACE(kMaxFds * sizeof(int))];
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_PASSENGERS_H_
