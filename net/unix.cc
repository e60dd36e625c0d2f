#include "grove/net/unix.h"

#include <errno.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/passengers.h"
#include "grove/net/internal/retry.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/uncancelled.h"
#include "grove/net/internal/unix_socket.h"

namespace grove::net {

using net_internal::kMaxFds;
using net_internal::NewSocket;

// --- UnixStream -----------------------------------------------------------------------

absl::StatusOr<UnixStream> UnixStream::Connect(const UnixAddress& address,
                                               Deadline deadline) {
  const std::string operation = absl::StrCat("connect to unix:", address.ToString());
  const int fd = NewSocket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) return ErrnoStatus(errno, operation);
  UnixStream stream(fd, address);
  if (absl::Status s = net_internal::ConnectUnix(fd, address, operation, deadline);
      !s.ok()) {
    return s;
  }
  return stream;
}

absl::StatusOr<std::pair<UnixStream, UnixStream>> UnixStream::Pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "make a pair of Unix sockets");
  }
  return std::pair(UnixStream(fds[0], {}), UnixStream(fds[1], {}));
}

absl::StatusOr<UnixStream> UnixStream::Adopt(int fd) {
  const absl::string_view as = "a Unix stream";
  if (absl::Status s = net_internal::MakeAdoptable(fd, {.is_unix = true, .name = as});
      !s.ok()) {
    return s;
  }
  absl::StatusOr<UnixAddress> peer = net_internal::UnixNameOf(
      fd, &getpeername, absl::StrCat("adopt fd ", fd, " as ", as));
  if (!peer.ok()) return std::move(peer).status();
  return UnixStream(fd, *std::move(peer));
}

absl::StatusOr<PeerCredentials> UnixStream::peer_credentials() const {
  return net_internal::PeerCredentialsOf(fd(), Describe());
}

absl::Status UnixStream::SendDescriptors(absl::string_view data,
                                         absl::Span<const int> fds, Deadline deadline) {
  const auto operation = [&] {
    return absl::StrCat("send ", fds.size(), " descriptors to ", Describe());
  };
  if (data.empty() || fds.empty() || fds.size() > kMaxFds) {
    return absl::InvalidArgumentError(
        absl::StrCat(operation(), ": from 1 to ", kMaxFds,
                     " can be sent, with at least one byte (", data.size(), " given)"));
  }
  deadline = Earlier(deadline);
  iovec bytes{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  const net_internal::OutgoingFds passengers(message, fds);
  const absl::StatusOr<size_t> n = net_internal::SendOrWait(
      descriptor(), deadline,
      [&](int fd) {
        return net_internal::uncancelled::sendmsg(fd, &message, MSG_NOSIGNAL);
      },
      operation);
  if (!n.ok()) return n.status();
  CountWritten(*n);
  if (*n == data.size()) return absl::OkStatus();
  // The rest goes alone.
  absl::Status s = Write(data.substr(*n), deadline);
  return s.ok() ? s : WithBytesMoved(s, *n + BytesMoved(s));
}

absl::StatusOr<UnixStream::Received> UnixStream::ReceiveDescriptors(
    absl::Span<char> buffer, size_t max_fds, Deadline deadline) {
  const auto operation = [&] { return absl::StrCat("receive from ", Describe()); };
  Received received;
  if (buffer.empty()) return received;
  iovec bytes{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  net_internal::IncomingPassengers passengers(message, /*take_fds=*/true);
  const size_t control_size = message.msg_controllen;
  const absl::StatusOr<size_t> n = net_internal::ReceiveOrWait(
      descriptor(), Earlier(deadline),
      [&](int fd) {
        message.msg_controllen = control_size;
        return net_internal::uncancelled::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
      },
      operation);
  if (!n.ok()) return n.status();
  CountRead(*n);
  received.bytes = *n;
  absl::Status taken =
      passengers.Take(message, max_fds, operation, received.fds, received.sender);
  if (!taken.ok()) return taken;
  return received;
}

// --- UnixListener ---------------------------------------------------------------------

absl::StatusOr<UnixListener> UnixListener::Listen(const UnixAddress& address,
                                                  UnixListenOptions options) {
  auto acceptor = net_internal::UnixAcceptor::Listen(SOCK_STREAM, address, options);
  if (!acceptor.ok()) return std::move(acceptor).status();
  return UnixListener(*std::move(acceptor));
}

absl::StatusOr<UnixListener> UnixListener::Adopt(int fd) {
  auto acceptor = net_internal::UnixAcceptor::Adopt(fd, SOCK_STREAM, "a Unix listener");
  if (!acceptor.ok()) return std::move(acceptor).status();
  return UnixListener(*std::move(acceptor));
}

absl::StatusOr<UnixStream> UnixListener::TryAccept() {
  auto accepted = acceptor_.TryAccept();
  if (!accepted.ok()) return std::move(accepted).status();
  return UnixStream(accepted->first, std::move(accepted->second));
}

absl::StatusOr<UnixStream> UnixListener::Accept(Deadline deadline) {
  auto accepted = acceptor_.Accept(deadline);
  if (!accepted.ok()) return std::move(accepted).status();
  return UnixStream(accepted->first, std::move(accepted->second));
}

}  // namespace grove::net
