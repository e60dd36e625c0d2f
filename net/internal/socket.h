#ifndef GROVE_NET_INTERNAL_SOCKET_H_
#define GROVE_NET_INTERNAL_SOCKET_H_

#include <errno.h>
#include <sys/socket.h>

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"

// What sockets of all families have in common.
namespace grove::net::net_internal {

// A new socket, non-blocking and closed on exec. -1 with errno.
int NewSocket(int family, int type, int protocol = 0);
absl::Status MakeNonBlocking(int fd);

// What a descriptor that somebody gives us has to be.
struct SocketKind {
  bool is_unix = false;  // else IPv4 or IPv6
  int type = SOCK_STREAM;
  bool listens = false;
  absl::string_view name;  // "a TCP listener"
};
// MakeAdoptable()
//
// Makes it non-blocking if it is that, and leaves it alone else: kInvalidArgument, "adopt
// fd 7 as a TCP listener: it is a Unix datagram socket".
absl::Status MakeAdoptable(int fd, const SocketKind& kind);
// Sets an option to 1. Fails only for descriptors that are no sockets, which the calls
// after will tell.
void SetFlag(int fd, int level, int option);

// Whatever the system's default is.
void SetV6Only(int fd, bool on);

inline bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

// "read from 10.0.0.1:80: the deadline passed"; "read: fd 7 was closed by ...".
absl::Status TimedOut(absl::string_view operation);
absl::Status WasClosed(absl::string_view operation);
// What a wait that did not end with kReady comes to.
absl::Status NotReady(WaitResult result, absl::string_view operation);

// How connect(2) ends that said EINPROGRESS. `operation` names it in messages.
using Operation = absl::FunctionRef<std::string()>;
absl::Status FinishConnect(Descriptor& descriptor, Deadline deadline,
                           Operation operation);

// accept4(2), over the errors that are those of one connection. -1 with errno.
int AcceptOne(int fd, sockaddr* peer, socklen_t* peer_size);

// What AcceptOne() comes to while nobody is there: EAGAIN. Always the same status, which
// costs nothing to make and to compare: a server gets it each time before it waits.
const absl::Status& NobodyThere();

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_SOCKET_H_
