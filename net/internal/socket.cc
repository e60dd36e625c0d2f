#include "grove/net/internal/socket.h"

#include <fcntl.h>
#include <netinet/in.h>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"

namespace grove::net::net_internal {

int NewSocket(int family, int type, int protocol) {
  return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

absl::Status MakeNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return ErrnoStatus(errno, absl::StrCat("adopt fd ", fd));
  }
  return absl::OkStatus();
}

namespace {

// 0 if there is no such option.
int IntOption(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  getsockopt(fd, SOL_SOCKET, option, &value, &size);
  return value;
}

std::string KindOf(int fd) {
  const int family = IntOption(fd, SO_DOMAIN);
  const int type = IntOption(fd, SO_TYPE);
  std::string family_name = family == AF_UNIX    ? "a Unix"
                            : family == AF_INET  ? "an IPv4"
                            : family == AF_INET6 ? "an IPv6"
                                                 : absl::StrCat("a family ", family);
  const std::string type_name = type == SOCK_STREAM      ? "stream"
                                : type == SOCK_DGRAM     ? "datagram"
                                : type == SOCK_SEQPACKET ? "seqpacket"
                                                         : absl::StrCat("type ", type);
  return absl::StrCat(family_name, " ", type_name, " socket",
                      type == SOCK_DGRAM             ? ""
                      : IntOption(fd, SO_ACCEPTCONN) ? " that listens"
                                                     : " that does not listen");
}

}  // namespace

absl::Status MakeAdoptable(int fd, const SocketKind& kind) {
  const std::string operation = absl::StrCat("adopt fd ", fd, " as ", kind.name);
  int family = 0;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) {
    return ErrnoStatus(errno, operation);
  }
  const bool right_family =
      kind.is_unix ? family == AF_UNIX : family == AF_INET || family == AF_INET6;
  if (!right_family || IntOption(fd, SO_TYPE) != kind.type ||
      (IntOption(fd, SO_ACCEPTCONN) != 0) != kind.listens) {
    return absl::InvalidArgumentError(absl::StrCat(operation, ": it is ", KindOf(fd)));
  }
  return MakeNonBlocking(fd);
}

void SetFlag(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

void SetV6Only(int fd, bool on) {
  const int value = on ? 1 : 0;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value);
}

// Out of line: what messages need on the stack would be part of the frame in which every
// idle connection sleeps.
[[gnu::cold]] absl::Status TimedOut(absl::string_view operation) {
  return absl::DeadlineExceededError(absl::StrCat(operation, ": the deadline passed"));
}

[[gnu::cold]] absl::Status WasClosed(absl::string_view operation) {
  return absl::CancelledError(absl::StrCat(operation, ": ", WhoClosed()));
}

[[gnu::cold]] absl::Status NotReady(WaitResult result, absl::string_view operation) {
  return result == WaitResult::kDeadline ? TimedOut(operation) : WasClosed(operation);
}

absl::Status FinishConnect(Descriptor& descriptor, Deadline deadline,
                           Operation operation) {
  const int fd = descriptor.fd();
  const WaitResult result = descriptor.WaitWritable(deadline);
  if (result != WaitResult::kReady) return NotReady(result, operation());
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  // The wait ends as well if the kernel refuses to watch the socket.
  sockaddr_storage peer;
  size = sizeof peer;
  if (error == 0 && getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
    error = errno;
  }
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, operation());
}

const absl::Status& NobodyThere() {
  static const absl::Status* const status =
      new absl::Status(ErrnoStatus(EAGAIN, "accept: nobody has connected"));
  return *status;
}

int AcceptOne(int fd, sockaddr* peer, socklen_t* peer_size) {
  for (;;) {
    const socklen_t room = *peer_size;
    const int accepted = accept4(fd, peer, peer_size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) return accepted;
    *peer_size = room;
    switch (errno) {
      // A connection that broke before we took it; accept(2) lists these.
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
      case ENETDOWN:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case ENETUNREACH:
        continue;
      default:
        return -1;
    }
  }
}

}  // namespace grove::net::net_internal
