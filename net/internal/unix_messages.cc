#include "grove/net/internal/unix_messages.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "grove/green/poll.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/net/internal/passengers.h"
#include "grove/net/internal/retry.h"
#include "grove/net/internal/uncancelled.h"
#include "grove/net/internal/unix_socket.h"

namespace grove::net::net_internal {
namespace {

class TemporarySocket {
 public:
  TemporarySocket() : fd_(NewSocket(AF_UNIX, SOCK_DGRAM)) {}
  TemporarySocket(const TemporarySocket&) = delete;
  TemporarySocket& operator=(const TemporarySocket&) = delete;
  ~TemporarySocket() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// Until a datagram to `peer`, to which the socket `fd` is not connected, may be sent. The
// kernel calls a socket writable that is not connected, however many datagrams wait at
// the peer. One that is connected to it is not while there are too many: so such a one is
// made, and waited for. Polled, and not waited for by the Descriptor: any number may
// send.
WaitResult WaitForRoomAt(int fd, const UnixAddress& peer, Deadline deadline) {
  const auto result_of = [](const absl::StatusOr<int>& n, const pollfd& own) {
    if (n.ok() && *n == 0) return WaitResult::kDeadline;
    return (own.revents & POLLNVAL) != 0 ? WaitResult::kClosed : WaitResult::kReady;
  };
  pollfd fds[2] = {{fd, POLLOUT, 0}, {-1, POLLOUT, 0}};
  // Its own buffer may be what is full.
  if (poll(fds, 1, 0) == 0) return result_of(Poll({fds, 1}, deadline), fds[0]);
  fds[0].events = 0;
  const TemporarySocket connected;
  const RawUnixAddress raw(peer);
  if (connected.fd() < 0) {
    // Nothing to wait for but time.
    const absl::Duration pause = absl::Milliseconds(10);
    if (deadline.HasPassed()) return WaitResult::kDeadline;
    return result_of(Poll({fds, 1}, std::min(deadline, Deadline(pause))), fds[0]) ==
                   WaitResult::kClosed
               ? WaitResult::kClosed
               : WaitResult::kReady;
  }
  // A peer that is gone, or takes nothing from us: sending will say so.
  if (connect(connected.fd(), raw.get(), raw.size()) != 0) return WaitResult::kReady;
  fds[1].fd = connected.fd();
  return result_of(Poll(fds, deadline), fds[0]);
}

}  // namespace

absl::Status SendUnixMessage(Descriptor& descriptor, absl::string_view data,
                             absl::Span<const int> fds, const UnixAddress* to,
                             Deadline deadline, Operation operation) {
  if (fds.size() > kMaxFds) {
    return absl::InvalidArgumentError(absl::StrCat(
        operation(), ": ", fds.size(), " descriptors, where the kernel takes ", kMaxFds));
  }
  iovec bytes{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  const OutgoingFds passengers(message, fds);
  std::optional<RawUnixAddress> raw;
  if (to != nullptr) {
    raw.emplace(*to);
    message.msg_name = const_cast<sockaddr*>(raw->get());
    message.msg_namelen = raw->size();
  }
  const auto send = [&](int fd) {
    return uncancelled::sendmsg(fd, &message, MSG_NOSIGNAL);
  };
  if (to == nullptr) return SendOrWait(descriptor, deadline, send, operation).status();
  const int fd = descriptor.fd();
  return DoOrWait(
             descriptor, "send", send, [&] { return WaitForRoomAt(fd, *to, deadline); },
             operation)
      .status();
}

absl::StatusOr<UnixMessage> ReceiveUnixMessage(Descriptor& descriptor,
                                               absl::Span<char> buffer,
                                               std::optional<size_t> max_fds,
                                               Deadline deadline, Operation operation) {
  sockaddr_un from = {};
  iovec bytes{buffer.data(), buffer.size()};
  msghdr message{};
  IncomingPassengers passengers(message, max_fds.has_value());
  const size_t control_size = message.msg_controllen;
  const absl::StatusOr<size_t> n = ReceiveOrWait(
      descriptor, deadline,
      [&](int fd) {
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        message.msg_controllen = control_size;
        return uncancelled::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
      },
      operation);
  if (!n.ok()) return n.status();
  UnixMessage received;
  received.bytes = *n;
  received.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  received.peer = UnixAddressFrom(from, message.msg_namelen);
  if (absl::Status s = passengers.Take(message, max_fds.value_or(0), operation,
                                       received.fds, received.sender);
      !s.ok()) {
    return s;
  }
  return received;
}

}  // namespace grove::net::net_internal
